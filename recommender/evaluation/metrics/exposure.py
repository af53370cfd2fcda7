"""What lists are like beside being right: who is shown, how new, how varied.

Definitions after Castells, Hurley & Vargas 2015 (Novelty and diversity in recommender systems)
and Vargas & Castells 2011. Padding is -1: a list may be shorter than K.

Shape letters: B lists, K places, I items, W width of an item's vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


def exposure(lists_BK: Ints, items: int) -> Ints:
    """Return how often each item is shown, (I,)."""
    return np.bincount(lists_BK[lists_BK >= 0], minlength=items)


def coverage(exposure_I: Ints) -> float:
    """Return the share of the catalogue that is shown to anybody."""
    return float((exposure_I > 0).mean()) if len(exposure_I) else float("nan")


def gini(exposure_I: Ints) -> float:
    """Return how unequally items are shown: 0 all alike, towards 1 only one; NaN if none is."""
    total, count = exposure_I.sum(), len(exposure_I)
    if not total:
        return float("nan")
    ranked = np.sort(exposure_I)
    place = np.arange(1, count + 1)
    return float(((2 * place - count - 1) * ranked).sum() / (count * total))


def novelty(lists_BK: Ints, seen_by_I: Ints, users: int) -> Doubles:
    """Return each list's mean self-information, −log2 of the share of people who know an item.

    Args:
        lists_BK: item rows, -1 where there is none.
        seen_by_I: people who had each item in their history before the test.
        users: people altogether.

    Returns:
        (B,), in bits; an item that nobody knows counts as if half a person did. NaN for an
        empty list.
    """
    share_I = np.maximum(seen_by_I, 0.5) / max(users, 1)
    return _mean_of(-np.log2(share_I), lists_BK)


def popularity_lift(lists_BK: Ints, popularity_I: Doubles, own_B: Doubles) -> Doubles:
    """Return how much more popular lists are than what these people took before, (B,).

    Args:
        lists_BK: item rows, -1 where there is none.
        popularity_I: any measure of it.
        own_B: its mean over each person's history, NaN without one (Abdollahpouri et al. 2019,
            The unfairness of popularity bias).

    Returns:
        (mean over the list − own) / own; NaN where there is no history or no list.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = (_mean_of(popularity_I, lists_BK) - own_B) / own_B
    return np.where(np.isfinite(lift), lift, np.nan)


def intra_list_diversity(lists_BK: Ints, vectors_IW: NDArray[np.float32]) -> Doubles:
    """Return each list's mean distance 1 − cosine between two of its items, (B,).

    Args:
        lists_BK: item rows, -1 where there is none.
        vectors_IW: of length 1, or zero where nothing is known: those are at distance 1.

    Returns:
        NaN for lists of fewer than two items.
    """
    shown_BK = lists_BK >= 0
    # The cosines of all pairs add up to (|sum of vectors|² − number of non-zero vectors).
    known_I = (vectors_IW**2).sum(axis=1)
    sums_BW = np.zeros((len(lists_BK), vectors_IW.shape[1]))
    squares_B = np.zeros(len(lists_BK))
    for k in range(lists_BK.shape[1]):
        rows = np.where(shown_BK[:, k], lists_BK[:, k], 0)
        mask = shown_BK[:, k].astype(np.float64)
        sums_BW += vectors_IW[rows] * mask[:, None]
        squares_B += known_I[rows] * mask
    pairs_B = shown_BK.sum(axis=1) * (shown_BK.sum(axis=1) - 1)
    alike_B = (sums_BW**2).sum(axis=1) - squares_B
    return np.where(pairs_B > 0, 1 - alike_B / np.maximum(pairs_B, 1), np.nan)


def serendipity(lists_BK: Ints, hits_BK: NDArray[np.bool_], expected_BK: Ints) -> Doubles:
    """Return the share of each list that was taken although a plain list wouldn't have shown it.

    Args:
        lists_BK: item rows, -1 where there is none.
        hits_BK: which places were taken.
        expected_BK: what everybody would expect: the most popular items for each request
            (Ge, Delgado-Battenfeld & Jannach 2010, Beyond accuracy).

    Returns:
        (B,), hits outside the expected list over places shown; NaN for an empty list.
    """
    usual_BK = (lists_BK[:, :, None] == expected_BK[:, None, :]).any(axis=2)
    shown_B = (lists_BK >= 0).sum(axis=1)
    found_B = (hits_BK & ~usual_BK & (lists_BK >= 0)).sum(axis=1)
    return np.where(shown_B > 0, found_B / np.maximum(shown_B, 1), np.nan)


def freshness(lists_BK: Ints, born_I: Ints, now_B: Ints) -> Doubles:
    """Return the mean age of each list's items in days, (B,); younger is fresher.

    Args:
        lists_BK: item rows, -1 where there is none.
        born_I: when each item appeared (created, or first seen), UTC milliseconds; -1 unknown.
        now_B: the moment of each request, UTC milliseconds.

    Returns:
        NaN where no age is known; an item that appears later than the request has age 0.
    """
    rows = np.maximum(lists_BK, 0)
    known_BK = (lists_BK >= 0) & (born_I[rows] >= 0)
    age_BK = np.maximum(now_B[:, None] - born_I[rows], 0) / 86_400_000
    count_B = known_BK.sum(axis=1)
    total_B = (age_BK * known_BK).sum(axis=1)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


def _mean_of(value_I: Doubles, lists_BK: Ints) -> Doubles:
    shown_BK = lists_BK >= 0
    count_B = shown_BK.sum(axis=1)
    total_B = (value_I[np.maximum(lists_BK, 0)] * shown_BK).sum(axis=1)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)
