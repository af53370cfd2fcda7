"""Who follows whom in the generated shop: those whose taste is like one's own.

Shape letters: U users, T traits.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.tables import FOLLOWS, TIME

_ASKED = 200
"""Others that everybody meets, of whom they follow the likest."""


def follow_graph(
    ids: list[str], taste_UT: NDArray[np.float64], mean: float, start_ms: int, seed: int
) -> pa.Table:
    """Return the edges of the generated follow graph, by follower and followed.

    Everybody meets some others by chance and follows the likest of them, all from the beginning of
    the log: whoever has not bought anything yet has somebody to go by.

    Args:
        ids: of the users, U of them.
        taste_UT: what they like, (U, T); likeness is the cosine.
        mean: people that everybody follows, on the average (Poisson).
        start_ms: of the log, UTC milliseconds.
        seed: of the shop. The chance here is apart from the shop's, whose log stays what it is.
    """
    random = np.random.default_rng([seed, 0xF0])
    norms_U1 = np.linalg.norm(taste_UT, axis=1, keepdims=True)
    unit_UT = taste_UT / np.maximum(norms_U1, 1e-12)
    counts_U = random.poisson(mean, len(ids))
    pairs: list[tuple[str, str]] = []
    for user, count in enumerate(counts_U.tolist()):
        met = random.permutation(len(ids))[:_ASKED]
        met = met[met != user]
        nearest = met[np.argsort(-(unit_UT[met] @ unit_UT[user]), kind="stable")[:count]]
        pairs += sorted((ids[user], ids[other]) for other in nearest.tolist())
    return pa.table(
        [
            pa.array([pair[0] for pair in pairs], pa.string()),
            pa.array([pair[1] for pair in pairs], pa.string()),
            pa.array([start_ms] * len(pairs), pa.int64()).cast(TIME),
        ],
        schema=FOLLOWS,
    )
