"""The best items by inner product, exactly, in bounded memory.

Shape letters: B queries, I items, D width, K items found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.scoring import Floats, top_k

BLOCK = 131_072
"""Items that are scored at once."""


class ExactIndex:
    """Every item is looked at, a block at a time.

    Args:
        items_ID: vectors; not copied.
        block: items that are scored at once.
    """

    def __init__(self, items_ID: Floats, block: int = BLOCK) -> None:
        self._items_ID = items_ID
        self._block = block

    def search(self, queries_BD: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the k best rows per query and their inner products, best first.

        Ties go to the item that comes first.

        Returns:
            items (B, K) int64 and scores (B, K) float32, K = min(k, I).
        """
        items_BK = np.empty((len(queries_BD), 0), np.int64)
        best_BK = np.empty((len(queries_BD), 0), np.float32)
        for first in range(0, len(self._items_ID), self._block):
            block_ID = self._items_ID[first : first + self._block]
            rows_BK, scores_BK = top_k(queries_BD @ block_ID.T, k)
            # Earlier blocks come first, and so do their items among equals.
            both = np.concatenate([items_BK, rows_BK + first], axis=1)
            scores = np.concatenate([best_BK, scores_BK], axis=1)
            order_BK = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            items_BK = np.take_along_axis(both, order_BK, 1)
            best_BK = np.take_along_axis(scores, order_BK, 1)
        return items_BK, best_BK
