"""Items follow their category by their share of its demand.

    forecast_i(h) = level_i · F_c(h) / level_c

with `level` the smoothed demand of `recommender.features.smoothing`, of one weight for all (and,
for items, drawn to their mean), and F_c the category's forecast. An item in several categories
takes the mean over them; an item in none, or in one without demand enough for a model, follows all
items together. (Top-down forecasting by recent shares: Gross & Sohl 1990, Disaggregation methods to
expedite product line forecasting.) In backtests this beat models of single items, even for the most
popular ones (docs/benchmarks.md), and for a catalogue of any size it costs a few sums.

Shape letters: S series, I items, C categories and everything, T periods, H periods ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.features.demand import Categories, Demand, Doubles
from recommender.features.smoothing import shrunken_levels

SHARE, SMOOTHING, NOTHING = "share", "smoothing", "none"

WEIGHTS = (0.01, 0.03, 0.1, 0.2)
"""Weights of the newest period to choose from: a memory of 100 periods down to 5."""

_SAMPLE = 1000


@dataclass(frozen=True)
class Outlook:
    """What is known of series at a moment, and what is to come; all finite.

    Attributes:
        level: demand per period now, not negative, (S,).
        slope: its change per period, (S,).
        season: what the next period's season adds, (S,).
        ahead: forecasts of the next periods, not negative, (S, H).
        methods: how `ahead` was made, (S,) of text.
    """

    level: Doubles
    slope: Doubles
    season: Doubles
    ahead: Doubles
    methods: NDArray[np.object_]


def shares(demand: Demand, categories: Categories, pools: Outlook, weight: float) -> Outlook:
    """Let every item follow its categories by its share of their demand.

    Args:
        demand: of the items, (I,).
        categories: which categories each item is in.
        pools: of the categories and everything, (C,); `level` smoothed with the same weight.
        weight: of the newest period.
    """
    level = shrunken_levels(demand, weight)
    live = (pools.methods != SMOOTHING) & (pools.level > 0)
    scale = np.where(live, pools.level, 1.0)[:, None]
    # Per unit of level: the forecasts, the slope and the season of each pool, (C, H + 2).
    unit = np.hstack([pools.ahead, pools.slope[:, None], pools.season[:, None]]) / scale
    unit[~live] = np.concatenate([np.ones(pools.ahead.shape[1]), [0.0, 0.0]])
    used = live[categories.members]
    owners = categories.owners[used]
    count = np.bincount(owners, minlength=len(demand))
    sums = np.zeros((len(demand), unit.shape[1]))
    np.add.at(sums, owners, unit[categories.members[used]])
    factors = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], unit[-1])
    follows = (count > 0) | live[-1]
    methods = np.where(follows, SHARE, SMOOTHING).astype(object)
    methods[demand.lengths == 0] = NOTHING
    ahead = level[:, None] * factors[:, :-2]
    return Outlook(level, level * factors[:, -2], level * factors[:, -1], ahead, methods)


def best_weight(demand: Demand, categories: Categories) -> float:
    """Choose the weight whose shares would have foretold the next period's shares best.

    How long a share lasts is a property of the catalogue; a single item has too few events to tell.
    Every period, an item's share of its first category (of everything, if it has none) so far is
    multiplied by what the category then had. Squared errors are divided by the item's mean, their
    variance if demand is Poisson, so that the head does not decide alone. At most 1,000 items
    are looked at, evenly spread from the most to the least popular.

    Args:
        demand: of the items.
        categories: theirs.
    """
    live = np.flatnonzero((demand.totals > 1) & (demand.lengths > 2))
    if not len(live):
        return WEIGHTS[2]
    live = live[np.argsort(-demand.totals[live], kind="stable")]
    rows = live[np.linspace(0, len(live) - 1, min(len(live), _SAMPLE)).astype(np.int64)]
    pool_I = np.full(len(demand), len(categories.demand) - 1)
    pool_I[categories.owners[::-1]] = categories.members[::-1]
    pools, place_S = np.unique(pool_I[rows], return_inverse=True)
    values_ST = demand.dense(rows)
    begun_ST = np.arange(demand.periods) >= demand.starts[rows][:, None]
    pooled_ST = categories.demand.dense(pools)[place_S]
    errors = [_share_error(values_ST, begun_ST, pooled_ST, weight) for weight in WEIGHTS]
    return WEIGHTS[int(np.argmin(errors))]


def _share_error(
    values_ST: Doubles, begun_ST: NDArray[np.bool_], pooled_ST: Doubles, weight: float
) -> float:
    """Return the mean squared error of shares one period ahead, in units of the items' means."""
    sums, mass, pool_sums, pool_mass = (np.zeros(len(values_ST)) for _ in range(4))
    squares, steps = np.zeros(len(values_ST)), np.zeros(len(values_ST))
    for t in range(values_ST.shape[1]):
        known = (mass > 0) & (pool_sums > 0)
        share = np.zeros(len(values_ST))
        share[known] = sums[known] * pool_mass[known] / (mass[known] * pool_sums[known])
        squares += np.where(mass > 0, (values_ST[:, t] - share * pooled_ST[:, t]) ** 2, 0)
        steps += mass > 0
        sums = sums * (1 - weight) + values_ST[:, t]
        mass = mass * (1 - weight) + begun_ST[:, t]
        pool_sums = pool_sums * (1 - weight) + pooled_ST[:, t]
        pool_mass = pool_mass * (1 - weight) + 1
    means = values_ST.sum(axis=1) / np.maximum(begun_ST.sum(axis=1), 1)
    return float(np.mean(squares / np.maximum(steps, 1) / np.maximum(means, 1e-9)))
