"""From histories to lists: the one way in which evaluation, batch scoring and the endpoint rank.

Shape letters: B histories, I items of the catalogue, K items recommended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Histories
from recommender.scoring import Floats, mask_seen, top_k

_CACHED = 2**18
"""Scores that are ranked at a time: a megabyte."""


class Scores(Protocol):
    """The part of `recommender.scoring.Scorer` that ranking needs."""

    def scores(self, histories: Histories) -> Floats:
        """Score every item for every history, (B, I)."""
        ...


@dataclass(frozen=True)
class Ranked:
    """Lists, best first.

    Attributes:
        items: rows of the catalogue, (B, K).
        scores: -inf where nothing more may be recommended: the list is shorter there, (B, K).
        nonfinite: scores that were NaN or infinite; such items were ranked last.
    """

    items: NDArray[np.int64]
    scores: Floats
    nonfinite: int


def rank(
    scorer: Scores,
    histories: Histories,
    k: int,
    *,
    reads: int,
    exclude_seen: bool,
    unwanted: Iterable[tuple[int, int]] = (),
    among: Mapping[int, NDArray[np.int64]] | None = None,
    exactly: Mapping[int, NDArray[np.int64]] | None = None,
) -> Ranked:
    """Rank the catalogue, or what is allowed of it, for each history.

    Args:
        scorer: of the model.
        histories: as served, (B,); items of them are left out even where the model doesn't read
            so far back.
        k: length of the lists.
        reads: most recent events that the model reads (`Model.history`).
        exclude_seen: whether items of the history may not be recommended.
        unwanted: (history, item) rows that may not be recommended either.
        among: by row of a history, the rows of the only items that may be recommended.
        exactly: by row of a history, the rows of the items to be put in order, whether they are
            in the history or not; for these histories nothing else is recommended.
    """
    scores_BI = scorer.scores(histories.recent(reads))
    count, items = scores_BI.shape
    rules = _Rules(list(unwanted), among or {}, exactly or {})
    # A copy, since what a scorer returns may be its own: some rows at a time, so that all that
    # follows finds them in the processor's cache.
    height = min(count, max(1, _CACHED // max(items, 1)))
    copy_HI = np.empty((height, items), np.float32)
    parts, bad = [], 0
    for first in range(0, count, height):
        stop = min(first + height, count)
        some_HI = copy_HI[: stop - first]
        np.copyto(some_HI, scores_BI[first:stop])
        bad += _without_nonfinite(some_HI)
        some = histories if stop - first == count else histories.slice(first, stop)
        rules.apply(some_HI, first, some if exclude_seen else None)
        parts.append(top_k(some_HI, k))
    if len(parts) == 1:
        return Ranked(*parts[0], bad)
    if not parts:
        parts = [top_k(copy_HI, k)]
    items_BK, best_BK = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Ranked(items_BK, best_BK, bad)


@dataclass(frozen=True)
class _Rules:
    """What may be recommended to whom; see `rank`."""

    unwanted: list[tuple[int, int]]
    among: Mapping[int, NDArray[np.int64]]
    exactly: Mapping[int, NDArray[np.int64]]

    def apply(self, scores_HI: Floats, first: int, seen: Histories | None) -> None:
        """Apply them to the rows from `first` on, in place; `seen` may not be recommended."""
        stop = first + len(scores_HI)
        asked = {
            row - first: (items, scores_HI[row - first, items])
            for row, items in self.exactly.items()
            if first <= row < stop
        }
        if seen is not None:
            mask_seen(scores_HI, seen)
        for row, item in self.unwanted:
            if first <= row < stop:
                scores_HI[row - first, item] = -np.inf
        for row, items in self.among.items():
            if first <= row < stop:
                _keep(scores_HI[row - first], items, scores_HI[row - first, items])
        for row, (items, kept) in asked.items():
            _keep(scores_HI[row], items, kept)


def _keep(scores_I: Floats, items: NDArray[np.int64], kept: Floats) -> None:
    """Leave nothing but some scores in a row, in place."""
    scores_I[:] = -np.inf
    scores_I[items] = kept


def _without_nonfinite(scores_BI: Floats) -> int:
    """Rank scores that are no numbers last, in place; return how many there were."""
    # A row's sum is finite only if all of it is (or it overflows, and is looked at for nothing):
    # one pass without a temporary array, over scores that are nearly always fine.
    with np.errstate(over="ignore", invalid="ignore"):
        suspects = np.flatnonzero(~np.isfinite(scores_BI.sum(axis=1)))
    if not len(suspects):
        return 0
    wrong = ~np.isfinite(scores_BI[suspects])
    rows, items = np.nonzero(wrong)
    scores_BI[suspects[rows], items] = -np.inf
    return len(rows)
