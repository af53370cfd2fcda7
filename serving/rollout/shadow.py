"""Shadow mode: what the candidate would have answered, compared with what the champion did.

Nobody is shown the candidate's answer. So it can't be judged by what people do; but whether it
breaks, how long it takes and how different its lists are can be seen before anybody meets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.rollout.lines import Entries


@dataclass(frozen=True)
class Comparison:
    """One request that both have answered.

    Attributes:
        user: a pseudonym.
        request: names the request.
        time: UTC milliseconds.
        stable_ms: the champion's latency, as the router saw it.
        candidate_ms: the candidate's; of a failed one, until it failed.
        overlap: share of the champion's items that the candidate recommends, too; None where one
            of them gave no list.
        rank_correlation: Spearman's, of the scores of the items that both recommend; None with
            fewer than two of them.
        error: what was wrong with the candidate's answer, "" for a good one.
    """

    user: str
    request: str
    time: int
    stable_ms: float
    candidate_ms: float
    overlap: float | None
    rank_correlation: float | None
    error: str = ""


class Comparisons(Entries[Comparison]):
    """What was compared in one rollout, each request once.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda told: Comparison(**told), lambda one: one.request)


def overlap(stable: Sequence[str], candidate: Sequence[str]) -> float | None:
    """Return the share of the champion's items that the candidate recommends, too.

    Args:
        stable: the champion's items.
        candidate: the candidate's.

    Returns:
        within [0, 1], or None if the champion recommends nothing.
    """
    return len({*stable} & {*candidate}) / len({*stable}) if stable else None


def rank_correlation(stable: dict[str, float], candidate: dict[str, float]) -> float | None:
    """Return Spearman's rank correlation of the scores of the items that both recommend.

    Ranks, because two models' scores needn't share a scale. Equal scores share the mean of their
    ranks.

    Args:
        stable: the champion's scores by item.
        candidate: the candidate's.

    Returns:
        within [-1, 1], or None with fewer than two items in common or where all scores are equal.
    """
    both = sorted({*stable} & {*candidate})
    if len(both) < 2:
        return None
    ours, theirs = (_ranks([scores[item] for item in both]) for scores in (candidate, stable))
    if not ours.std() or not theirs.std():
        return None
    return float(np.corrcoef(ours, theirs)[0, 1])


def _ranks(values: list[float]) -> NDArray[np.float64]:
    """Return the ranks from 1; equal values share their mean.

    The router compares while people wait, so it imports no scipy for this.
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], np.float64)


def compare(stable: Any, candidate: Any) -> tuple[float | None, float | None]:
    """Compare two V1 predictions of one request.

    Args:
        stable: the champion's prediction: `items` with `item_id` and `score`.
        candidate: the candidate's.

    Returns:
        overlap and rank correlation, None where they can't be told.
    """
    ours, theirs = _scores(candidate), _scores(stable)
    if ours is None or theirs is None:
        return None, None
    return overlap(list(theirs), list(ours)), rank_correlation(theirs, ours)


def _scores(prediction: Any) -> dict[str, float] | None:
    try:
        return {str(item["item_id"]): float(item["score"]) for item in prediction["items"]}
    except (KeyError, TypeError, ValueError):
        return None
