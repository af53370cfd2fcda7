"""Streams a model over the evaluation set, a block of requests at a time.

Shape letters: B requests, I items, K places, M metrics.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.errors import EvaluationError
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.metrics import Doubles, hits, metric_names, per_request
from recommender.features.sequences import Catalogue, Histories, Ints
from recommender.progress import Progress
from recommender.ranking import rank
from recommender.scoring import Floats

# Float32 scores, the copy that is partitioned, and the masks of relevance and of the top list.
_BYTES_PER_SCORE = 24
_MOST_REQUESTS = 1024


class Ranker(Protocol):
    """The part of `recommender.scoring.Scorer` that evaluation needs."""

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        ...

    def scores(self, histories: Histories) -> Floats:
        """Score every item for every history, (B, I)."""
        ...


@dataclass(frozen=True)
class Scored:
    """What one model made of some requests.

    Attributes:
        rows: of the requests in the evaluation set, (B,).
        metrics: (B, M), in the order of `metrics.metric_names`.
        top: the recommended items, best first, (B, K).
        nonfinite: scores that were NaN or infinite; such items were ranked last.
        tied: lists with equal scores in them; those items are in the order of the catalogue.
    """

    rows: Ints
    metrics: Doubles
    top: NDArray[np.int32]
    nonfinite: int
    tied: int = 0

    @property
    def fingerprint(self) -> str:
        """A hash of the top lists: equal for two models that recommend the same throughout."""
        return hashlib.sha256(self.top.tobytes()).hexdigest()[:16]


def score(
    scorer: Ranker,
    history: int,
    evaluation_set: EvaluationSet,
    rows: Ints,
    ks: Sequence[int],
    *,
    label: str,
    block_bytes: int = 128 * 2**20,
) -> Scored:
    """Rank the full catalogue for some requests and measure the lists.

    Args:
        scorer: of the evaluation set's catalogue (see `champion.Aligned` for another).
        history: most recent events that the scorer reads (`Model.history`).
        evaluation_set: the frozen set.
        rows: which of its requests.
        ks: cut-offs.
        label: what to call it in the progress.
        block_bytes: memory for one block.

    Raises:
        EvaluationError: the scorer ranks another catalogue.
    """
    if scorer.catalogue.ids != evaluation_set.catalogue.ids:
        raise EvaluationError(
            f"{label}: the model ranks {len(scorer.catalogue)} items, but the evaluation set "
            f"{evaluation_set.version} was made for another catalogue of "
            f"{len(evaluation_set.catalogue)}",
            "train and evaluate on the same data version",
        )
    size = len(evaluation_set.catalogue)
    block = int(np.clip(block_bytes // (size * _BYTES_PER_SCORE), 1, _MOST_REQUESTS))
    depth = min(max(ks), size)
    metrics = np.empty((len(rows), len(metric_names(ks))))
    tops = np.empty((len(rows), depth), np.int32)
    nonfinite, tied, counts = 0, 0, evaluation_set.relevant_counts
    progress = Progress(f"score {label}", len(rows))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        ranked = rank(
            scorer,
            evaluation_set.histories(part),
            depth,
            reads=history,
            exclude_seen=evaluation_set.exclude_seen,
        )
        nonfinite += ranked.nonfinite
        equal_BK = (ranked.scores[:, 1:] == ranked.scores[:, :-1]) & (
            ranked.scores[:, 1:] > -np.inf
        )
        tied += int(equal_BK.any(axis=1).sum())
        # A masked item can only fill up a list that is longer than what may be recommended.
        relevant_BI = evaluation_set.relevance(part)
        found_BK = hits(ranked.items, relevant_BI) & (ranked.scores > -np.inf)
        stop = start + len(part)
        metrics[start:stop] = per_request(found_BK, counts[part], ks)
        tops[start:stop] = ranked.items
        progress.advance(len(part))
    return Scored(rows, metrics, tops, nonfinite, tied)
