"""Similar items by text: the exact top k by cosine over the vectors that the feature store holds.

No approximate index: twenty thousand vectors are compared in milliseconds, a million in less than a
second, and the answer is never wrong. Vectors come in blocks, so that memory is bounded by the
block and not by the catalogue.

Exact means: as if every cosine were computed in double precision, ties by item id. A block is
first compared in single precision (a matrix product, fast); whatever that can't rule out, given
its rounding error, is compared again in double precision, always in the same order of summation,
so that equal vectors have equal scores wherever they stand.

Shape letters: N items of a block, W width, C candidates.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.errors import FeatureError

BLOCK = 16_384
"""Vectors compared at a time: 25 MB of 384 numbers each."""

_AGAIN = 4_096
"""Vectors compared again at a time: many only where many are equally near."""


@dataclass(frozen=True, order=True)
class Similar:
    """An item and its cosine to what was asked for.

    Attributes:
        item_id: of the item.
        cosine: −1 … 1, in double precision.
    """

    item_id: str
    cosine: float


class Nearest:
    """Collects the k items nearest to a vector, block by block.

    Args:
        query: (W,); its length doesn't matter.
        k: at most this many are kept.
        without: id that is left out (the item itself).

    Raises:
        FeatureError: the query is all zeros or not finite, or k isn't positive.
    """

    def __init__(self, query: NDArray[np.float32], k: int, without: str | None = None) -> None:
        length = float(np.linalg.norm(query.astype(np.float64)))
        if k < 1:
            raise FeatureError(f"{k} similar items were asked for", "ask for 1 or more")
        if not np.isfinite(length) or length == 0:
            raise FeatureError(
                "there is no vector to compare with: it is all zeros or not finite",
                "an item without any text has no similar items by text",
            )
        self._query64 = query.astype(np.float64) / length
        self._query32 = self._query64.astype(np.float32)
        self._k = k
        self._without = without
        self._found: list[Similar] = []
        # |fl(x·y) − x·y| ≤ γ Σ|x_i y_i| ≤ γ for unit vectors, γ = n u / (1 − n u), whatever the
        # order of summation (Higham 2002, Accuracy and stability, §3.1); twice that also covers the
        # rounding of the query and of the vectors' lengths. Two scores are compared: twice again.
        unit = (len(query) + 4) * float(np.finfo(np.float32).eps) / 2
        self._slack = 4 * unit / (1 - unit)

    def add(self, ids: Sequence[str] | NDArray[np.object_], vectors: NDArray[np.float32]) -> None:
        """Compare with one block.

        Args:
            ids: of the items, (N,).
            vectors: of length 1; all zeros where there is no text, which is near nothing, (N, W).

        Raises:
            FeatureError: the vectors have another width than the query.
        """
        if vectors.shape[1] != len(self._query32):
            raise FeatureError(
                f"vectors of width {vectors.shape[1]} can't be compared with one of width "
                f"{len(self._query32)}",
                "both must come from the same encoder",
            )
        rows = self._candidates(vectors)
        for start in range(0, len(rows), _AGAIN):
            part = rows[start : start + _AGAIN]
            new = (
                Similar(str(ids[row]), cosine)
                for row, cosine in zip(part.tolist(), self._cosines(vectors[part]), strict=True)
                if str(ids[row]) != self._without
            )
            self._found = heapq.nsmallest(self._k, [*self._found, *new], key=_order)

    def best(self) -> list[Similar]:
        """Return the nearest items so far, the nearest first; of equally near ones by id."""
        return self._found

    def _cosines(self, vectors: NDArray[np.float32]) -> list[float]:
        """Return the cosines in double precision, (C,)."""
        exact = vectors.astype(np.float64)
        # Summed per row and always in the same order: no matrix product promises that.
        lengths = np.sqrt((exact * exact).sum(axis=1))
        return [float(each) for each in (exact * self._query64).sum(axis=1) / lengths]

    def _candidates(self, vectors: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the rows that may be among the k nearest, (C,)."""
        scores = vectors @ self._query32
        scores[~np.isfinite(scores)] = -np.inf
        zero = np.nonzero(scores == 0)[0]
        scores[zero[~vectors[zero].any(axis=1)]] = -np.inf
        room = self._k + (self._without is not None)
        kth = -np.inf
        if len(scores) > room:
            kth = float(np.partition(scores, len(scores) - room)[len(scores) - room])
        if len(self._found) == self._k:
            kth = max(kth, self._found[-1].cosine)
        return np.nonzero((scores >= kth - self._slack) & (scores > -np.inf))[0]


class SimilarItems:
    """A catalogue's vectors in memory, to be asked many times.

    Args:
        ids: of the items, (I,).
        vectors: of length 1; all zeros where there is no text, (I, W).

    Raises:
        ValueError: there aren't as many ids as vectors.
    """

    def __init__(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        if len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
        # An array, so that a block of it is a view.
        self._ids = np.array(list(ids), object)
        self._rows = {item: row for row, item in enumerate(ids)}
        self._vectors = np.ascontiguousarray(vectors, np.float32)

    def to_item(self, item_id: str, k: int) -> list[Similar]:
        """Return the k items most like one of them, without itself.

        Raises:
            FeatureError: the item isn't known, or has no text.
        """
        row = self._rows.get(item_id)
        if row is None:
            raise unknown(item_id, self._ids[0] if len(self._ids) else None)
        return self._nearest(self._vectors[row], k, item_id)

    def to_vector(self, query: NDArray[np.float32], k: int) -> list[Similar]:
        """Return the k items nearest to a vector of the same encoder, (W,).

        Raises:
            FeatureError: the vector is all zeros, not finite or of another width.
        """
        return self._nearest(query, k, None)

    def _nearest(self, query: NDArray[np.float32], k: int, without: str | None) -> list[Similar]:
        nearest = Nearest(query, k, without)
        for start in range(0, len(self._ids), BLOCK):
            nearest.add(self._ids[start : start + BLOCK], self._vectors[start : start + BLOCK])
        return nearest.best()


def nearest(
    blocks: Iterable[tuple[Sequence[str], NDArray[np.float32]]],
    query: NDArray[np.float32],
    k: int,
    without: str | None = None,
) -> list[Similar]:
    """Return the k items nearest to a vector, from vectors that are read block by block.

    Args:
        blocks: ids (N,) and vectors (N, W), as `Nearest.add` takes them.
        query: (W,).
        k: at most this many.
        without: id that is left out.

    Raises:
        FeatureError: the query is all zeros, not finite or of another width.
    """
    found = Nearest(query, k, without)
    for ids, vectors in blocks:
        found.add(ids, vectors)
    return found.best()


def unknown(item_id: str, example: str | None) -> FeatureError:
    """Return the error that says that an item isn't known."""
    return FeatureError(
        f"the catalogue has no item {item_id!r}",
        f"one it has is {example!r}" if example is not None else "publish its features first",
    )


def _order(found: Similar) -> tuple[float, str]:
    return -found.cosine, found.item_id
