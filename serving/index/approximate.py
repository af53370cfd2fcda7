"""The best items by inner product, nearly: an inverted file (FAISS) set to a recall it was seen at.

Items are grouped around centres, and a query looks into the groups whose centres fit it best. How
many groups that takes depends on the catalogue, so it is found out on queries like those to come,
against the exact answer, and the least number that reaches the recall is kept.

Shape letters: B queries, I items, D width, K items found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.scoring import Floats
from serving.index.exact import ExactIndex

RECALL = 0.99
DEPTH = 100
_PER_GROUP = 39
"""Vectors per group that the centres are found on: below it FAISS warns, above it little is won."""

_MARGIN = 0.002
"""By how much the recall is exceeded on the sample, whose own recall is chance to a degree."""


class ApproximateIndex:
    """Finds nearly all of the best items in a small part of the time.

    Args:
        items_ID: vectors.
        sample_BD: queries like those to come: what the recall is set by.
        recall: share of the `DEPTH` best items that must be found, on average over the sample.
        seed: of the grouping.
    """

    def __init__(
        self, items_ID: Floats, sample_BD: Floats, recall: float = RECALL, seed: int = 0
    ) -> None:
        import faiss

        # Threads are the caller's business, as everywhere in serving.
        faiss.omp_set_num_threads(1)
        self.groups = groups_for(len(items_ID))
        width = items_ID.shape[1]
        centres = faiss.IndexFlatIP(width)
        self._index: Any = faiss.IndexIVFFlat(
            centres, width, self.groups, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.seed = seed
        self._index.cp.max_points_per_centroid = _PER_GROUP
        self._index.cp.niter = 8
        items_ID = np.ascontiguousarray(items_ID, np.float32)
        self._index.train(items_ID)
        self._index.add(items_ID)
        self.probes, self.recall = self._set(ExactIndex(items_ID), sample_BD, recall)

    def search(self, queries_BD: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Return about the k best rows per query and their inner products, best first.

        Returns:
            items (B, K) int64, -1 where fewer were found, and scores (B, K) float32.
        """
        scores_BK, items_BK = self._index.search(
            np.ascontiguousarray(queries_BD, np.float32), min(k, self._index.ntotal)
        )
        return items_BK, scores_BK

    def _set(self, exact: ExactIndex, sample_BD: Floats, recall: float) -> tuple[int, float]:
        """Look into as few groups as the recall allows; return how many and what it is."""
        depth = min(DEPTH, self._index.ntotal)
        wanted_BK, _ = exact.search(sample_BD, depth)
        probes, reached = 1, 0.0
        while True:
            self._index.nprobe = probes
            reached = recall_of(self.search(sample_BD, depth)[0], wanted_BK)
            if reached >= min(1.0, recall + _MARGIN) or probes >= self.groups:
                return probes, reached
            probes = min(self.groups, max(probes + 1, int(probes * 1.25)))


def groups_for(items: int) -> int:
    """Return into how many groups so many items are put: about four times the square root."""
    return max(1, min(items // _PER_GROUP, int(4 * items**0.5)))


def recall_of(found_BK: NDArray[np.int64], wanted_BK: NDArray[np.int64]) -> float:
    """Return which share of the wanted items was found, on average over the queries."""
    shares = [
        len(np.intersect1d(found, wanted)) / max(1, len(wanted))
        for found, wanted in zip(found_BK, wanted_BK, strict=True)
    ]
    return float(np.mean(shares)) if shares else 1.0
