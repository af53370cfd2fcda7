"""Item vectors as catalogues have them: kinds within categories, few large, some popular."""

from __future__ import annotations

import numpy as np


def catalogue(items: int, width: int, seed: int = 0):
    """Return item vectors (I, width + 1), the last component popularity, and a maker of queries.

    200 categories of 25 kinds each, kinds of Zipf sizes; a query lies near the mean of three items,
    as a user's state near what was looked at.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.standard_normal((200, width)).repeat(25, 0)
    kinds = kinds + 0.6 * rng.standard_normal(kinds.shape)
    size = 1 / np.arange(1, len(kinds) + 1) ** 0.7
    mine = rng.choice(len(kinds), items, p=size / size.sum())
    vectors = kinds[mine] + 0.5 * rng.standard_normal((items, width))
    vectors = (vectors * width**-0.5).astype(np.float32)
    base = (0.8 * rng.standard_normal(items) - 1).astype(np.float32)

    def queries(count: int, seed: int):
        rng = np.random.default_rng(seed)
        near = vectors[rng.integers(0, items, (count, 3))].mean(1) * 9
        asked = near + 1.2 * width**-0.5 * rng.standard_normal((count, width))
        return np.concatenate([asked, np.ones((count, 1))], axis=1).astype(np.float32)

    return np.concatenate([vectors, base[:, None]], axis=1), queries
