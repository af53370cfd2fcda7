"""The trend of every item's demand: level, slope, season and what is to come.

Items borrow strength from their category. A category (and all items together) has demand enough for
a model of its own; an item's forecast is its share of that:

    forecast_i(h) = level_i · F_c(h) / level_c

with `level` the exponentially weighted mean of `recommender.features.smoothing`, the same for both,
and F_c the category's forecast; an item in several categories takes the mean over them, an item in
none follows all items together. In backtests on three data sets this beat models of single items,
even for the most popular ones (docs/benchmarks.md), and for a catalogue of any size it costs a few
sums. (Top-down forecasting by recent shares: Gross & Sohl 1990, Disaggregation methods to expedite
product line forecasting.) The head is decomposed one by one, and may be modelled too.

Shape letters: I items, C categories and everything, H periods ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.config.trends import TrendsConfig
from recommender.features.decomposition import decompose
from recommender.features.demand import Categories, Demand, Doubles, category_demand, item_demand
from recommender.features.forecasters import forecast
from recommender.features.sequences import EventLog, Ints
from recommender.features.smoothing import levels
from recommender.progress import track

SHARE, SMOOTHING, NOTHING = "share", "smoothing", "none"

_MIN_SHARE_OF_PERIODS = 0.25
_MIN_PERIODS_WITH_DEMAND = 10


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


def item_trend(log: EventLog, items: pa.Table, config: Config, as_of: int) -> pa.Table:
    """Return the trend of every item as of a moment.

    Args:
        log: at least of the events that make up histories.
        items: the canonical item table in catalogue order.
        config: what a success is (`actions.success`), and `features.trends`.
        as_of: UTC milliseconds; events at or after it leave no trace, nor do those of the period
            that is running then.

    Returns:
        One row per item, in catalogue order: `item_id`, `as_of`, `level`, `slope`, `season` and
        `forecast` (demand per period; `forecast` of the period that is running at `as_of`, `season`
        what its season adds), `method` (`share`, `smoothing`, a model's name, or `none` where
        nothing is known of the item) and `period_ms`. Nothing is null or NaN; level and forecast
        are never negative.
    """
    found = item_outlook(log, items, config, as_of, 1)
    rows = items.num_rows
    return pa.table(
        {
            "item_id": items["item_id"].cast(pa.string()),
            "as_of": pa.array(np.full(rows, as_of, np.int64)),
            "level": pa.array(found.level),
            "slope": pa.array(found.slope),
            "season": pa.array(found.season),
            "forecast": pa.array(found.ahead[:, 0]),
            "method": pa.array(found.methods, pa.string()),
            "period_ms": pa.array(np.full(rows, config.features.trends.period_ms, np.int64)),
        }
    )


def item_outlook(
    log: EventLog, items: pa.Table, config: Config, as_of: int, horizon: int
) -> Outlook:
    """Return level, slope, season and forecasts of every item; arguments as in `item_trend`.

    Args:
        log: the events.
        items: in catalogue order.
        config: the configuration.
        as_of: UTC milliseconds.
        horizon: H, periods to look ahead.
    """
    demand = item_demand(log, items, config, as_of)
    return outlook(demand, category_demand(demand, items), config.features.trends, horizon)


def outlook(demand: Demand, categories: Categories, trends: TrendsConfig, horizon: int) -> Outlook:
    """Return level, slope, season and forecasts of items from their series."""
    pooled = shares(demand, categories, category_outlook(categories, trends, horizon), trends)
    head = busiest(demand, trends.head)
    level, slope, season = pooled.level.copy(), pooled.slope.copy(), pooled.season.copy()
    ahead, methods = pooled.ahead.copy(), pooled.methods.copy()
    for row in track(head, "find the trends of items") if len(head) else ():
        series = demand.series(int(row))
        split = decompose(series, trends.season_lengths, trends.smoothing)
        level[row] = max(float(split.trend[-1]), 0.0)
        slope[row] = split.slope
        season[row] = split.season_ahead(1)[0]
        if trends.item_method != "share":
            own = forecast(trends.item_method, series, horizon, trends)
            if own is not None:
                ahead[row], methods[row] = own, trends.item_method
    return Outlook(level, slope, season, ahead, methods)


def category_outlook(categories: Categories, trends: TrendsConfig, horizon: int) -> Outlook:
    """Return level, slope, season and forecasts of the categories and, last, of everything.

    `level` is the exponentially weighted mean here, which shares are taken of. Categories without
    demand enough for a model have the method `smoothing`.
    """
    demand = categories.demand
    level = levels(demand, trends.smoothing)
    slope, season = np.zeros(len(demand)), np.zeros(len(demand))
    ahead = np.repeat(level[:, None], horizon, axis=1)
    methods = np.full(len(demand), SMOOTHING, object)
    everything = len(demand) - 1
    modelled = np.union1d(busiest(demand, trends.head), enough(demand, np.array([everything])))
    for row in track(modelled, "forecast categories") if len(modelled) else ():
        series = demand.series(int(row))
        found = forecast(trends.category_method, series, horizon, trends)
        if found is not None:
            split = decompose(series, trends.season_lengths, trends.smoothing)
            ahead[row], methods[row] = found, trends.category_method
            slope[row], season[row] = split.slope, split.season_ahead(1)[0]
    return Outlook(level, slope, season, ahead, methods)


def shares(demand: Demand, categories: Categories, pools: Outlook, trends: TrendsConfig) -> Outlook:
    """Let every item follow its categories by its share of their demand.

    Args:
        demand: of the items, (I,).
        categories: which categories each item is in.
        pools: of the categories and everything, (C,).
        trends: the weight of the smoothing.
    """
    level = levels(demand, trends.smoothing)
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


def busiest(demand: Demand, most: int) -> Ints:
    """Return the rows with most demand among those with enough of it, at most `most`, rising."""
    order = np.argsort(-demand.totals, kind="stable")[:most]
    return np.sort(enough(demand, order))


def enough(demand: Demand, rows: Ints) -> Ints:
    """Return those of `rows` that a model can be fitted to.

    They must have had demand in ten periods or more, and in a quarter of their periods: what is
    sparser is zeros with exceptions, which no model of this kind describes.
    """
    busy = np.diff(demand.offsets)[rows]
    often = busy >= _MIN_SHARE_OF_PERIODS * demand.lengths[rows]
    return np.asarray(rows[often & (busy >= _MIN_PERIODS_WITH_DEMAND)])
