"""Whether some people are served worse than others, and some providers shown less than they earn.

Quality gap: the best group's metric minus the worst's, with an interval; judged against a stated
tolerance. Groups differ in how hard they are, so the gap of the model is shown beside that of a
rival: a gap that every system has is the data's.

Exposure ratio of a provider (a brand, a category): its share of the places shown, discounted by
place, over its share of what people took (Singh & Joachims 2018, Fairness of exposure in
rankings: disparate treatment). 1 is what it earns.

Shape letters: G groups, U users, B lists, K places, I items, V providers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.statistics import resampled_totals

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Gap:
    """How far apart groups of users are.

    Attributes:
        best, worst: rows of the groups.
        gap: the best group's mean minus the worst's.
        low, high: percentile interval over resampled users, of the gap between those two.
        means: of each group, (G,); NaN for groups that are too small to be judged.
        users: of each group, (G,).
    """

    best: int
    worst: int
    gap: float
    low: float
    high: float
    means: Doubles
    users: Ints


def quality_gap(
    metric_U: Doubles,
    group_U: Ints,
    groups: int,
    *,
    minimum_users: int,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 7,
) -> Gap | None:
    """Compare groups of users.

    Args:
        metric_U: of each user.
        group_U: each user's group, 0 … G - 1.
        groups: G.
        minimum_users: smaller groups are not judged.
        resamples: of the bootstrap over users.
        confidence: level of the interval.
        seed: of the draws.

    Returns:
        None if fewer than two groups are large enough.
    """
    users_G = np.bincount(group_U, minlength=groups)
    sums_G = np.bincount(group_U, metric_U, minlength=groups)
    judged_G = users_G >= minimum_users
    if judged_G.sum() < 2:
        return None
    means_G = np.where(judged_G, sums_G / np.maximum(users_G, 1), np.nan)
    best, worst = int(np.nanargmax(means_G)), int(np.nanargmin(means_G))
    columns = [
        part
        for group in (best, worst)
        for part in (np.where(group_U == group, metric_U, 0), group_U == group)
    ]
    totals = resampled_totals(np.stack(columns, axis=1).astype(np.float64), resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps_R = totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3]
    low, high = np.nanquantile(gaps_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    gap = float(means_G[best] - means_G[worst])
    return Gap(best, worst, gap, float(low), float(high), means_G, users_G)


@dataclass(frozen=True)
class Exposure:
    """What providers get for what they earn.

    Attributes:
        shown: share of discounted exposure, (V,), sums to 1.
        earned: share of what was taken, (V,), sums to 1.
        ratio: shown over earned, (V,); NaN where nothing was taken.
        taken: how much that was, (V,).
    """

    shown: Doubles
    earned: Doubles
    ratio: Doubles
    taken: Ints


def provider_exposure(lists_BK: Ints, taken_P: Ints, provider_I: Ints, providers: int) -> Exposure:
    """Compare exposure with merit.

    Args:
        lists_BK: what was shown; -1 where there is none.
        taken_P: items that people took in the same window.
        provider_I: each item's provider, 0 … V - 1.
        providers: V.
    """
    weight_K = 1 / np.log2(np.arange(lists_BK.shape[1]) + 2)
    filled_BK = lists_BK >= 0
    weight_BK = np.broadcast_to(weight_K, lists_BK.shape)
    shown = np.bincount(provider_I[lists_BK[filled_BK]], weight_BK[filled_BK], minlength=providers)
    taken = np.bincount(provider_I[taken_P], minlength=providers)
    shown_V = shown / max(float(shown.sum()), 1e-12)
    earned_V = taken / max(int(taken.sum()), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_V = np.where(taken > 0, shown_V / earned_V, np.nan)
    return Exposure(shown_V, earned_V, ratio_V, taken)
