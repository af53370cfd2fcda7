"""The best items by inner product, nearly: FAISS set to a recall that it was seen at.

Items are grouped around centres, and a query looks into the groups whose centres fit it best (an
inverted file). Within them, items are compared by 4-bit codes, 32 at a time (product quantization,
"fast scan"), and the best by code once more by their vectors. How many groups it takes depends on
the catalogue, so it is found out on queries like those to come, against the exact answer, and the
least number that reaches the recall is kept.

Shape letters: B queries, I items, D width, K items found.
"""

from __future__ import annotations

from typing import Any, cast

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

_AGAIN = 32
"""Items that are compared by their vectors, per item wanted."""

LEAST = 4096
"""Items from which on an index of this kind can be made."""


class ApproximateIndex:
    """Finds nearly all of the best items in a small part of the time.

    Args:
        items_ID: vectors.
        sample_BD: queries like those to come: what the recall is set by.
        recall: share of the `DEPTH` best items that must be found, on average over the sample.
        seed: of the grouping.

    Raises:
        ValueError: there are fewer items than `LEAST`, for which the exact answer is as fast.
    """

    def __init__(
        self, items_ID: Floats, sample_BD: Floats, recall: float = RECALL, seed: int = 0
    ) -> None:
        import faiss

        if len(items_ID) < LEAST:
            raise ValueError(f"{len(items_ID)} items are too few for groups and codes")
        # Threads are the caller's business, as everywhere in serving.
        faiss.omp_set_num_threads(1)
        self.groups = groups_for(len(items_ID))
        vectors_IP = _padded(items_ID)
        width = vectors_IP.shape[1]
        described = f"IVF{self.groups},PQ{width // 2}x4fs,RFlat"
        self._index = cast(Any, faiss.index_factory(width, described, faiss.METRIC_INNER_PRODUCT))
        self._index.k_factor = _AGAIN
        self._inverted = cast(Any, faiss.downcast_index(self._index.base_index))
        # Codes of the vectors themselves: a query's table is then the same in every group.
        self._inverted.by_residual = False
        self._inverted.cp.seed = self._inverted.pq.cp.seed = seed
        self._inverted.cp.max_points_per_centroid = _PER_GROUP
        self._inverted.cp.niter = 8
        self._index.train(vectors_IP)
        self._index.add(vectors_IP)
        self.probes, self.recall = self._set(ExactIndex(items_ID), sample_BD, recall)

    def search(self, queries_BD: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Return about the k best rows per query and their inner products, best first.

        Returns:
            items (B, K) int64, -1 where fewer were found, and scores (B, K) float32.
        """
        scores_BK, items_BK = self._index.search(_padded(queries_BD), min(k, self._index.ntotal))
        return items_BK, scores_BK

    def _set(self, exact: ExactIndex, sample_BD: Floats, recall: float) -> tuple[int, float]:
        """Look into as few groups as the recall allows; return how many and what it is."""
        depth = min(DEPTH, self._index.ntotal)
        wanted_BK, _ = exact.search(sample_BD, depth)
        probes = 1
        while True:
            self._inverted.nprobe = probes
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


def _padded(vectors_XD: Floats) -> Floats:
    """Return vectors with zeros behind them: codes come in fours."""
    missing = -vectors_XD.shape[1] % 4
    return np.ascontiguousarray(np.pad(vectors_XD, ((0, 0), (0, missing))), np.float32)
