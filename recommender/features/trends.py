"""The trend of every item's demand: level, slope, season and what is to come.

Categories, and all items together, have demand enough for models of their own; items follow them by
their share (`recommender.features.shares`). The head is decomposed one by one, and may be modelled
too (`features.trends.item_method`).

Shape letters: I items, C categories and everything, H periods ahead.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from recommender.config import Config
from recommender.config.trends import TrendsConfig
from recommender.features.decomposition import decompose
from recommender.features.demand import Categories, Demand, category_demand, item_demand
from recommender.features.forecasters import forecast
from recommender.features.sequences import EventLog, Ints
from recommender.features.shares import SMOOTHING, Outlook, best_weight, shares
from recommender.features.smoothing import levels
from recommender.progress import track

_MIN_SHARE_OF_PERIODS = 0.25
_MIN_PERIODS_WITH_DEMAND = 10


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
    weight = trends.smoothing or best_weight(demand, categories)
    pools = category_outlook(categories, trends, weight, horizon)
    pooled = shares(demand, categories, pools, weight)
    head = busiest(demand, trends.head)
    level, slope, season = pooled.level.copy(), pooled.slope.copy(), pooled.season.copy()
    ahead, methods = pooled.ahead.copy(), pooled.methods.copy()
    for row in track(head, "find the trends of items") if len(head) else ():
        series = demand.series(int(row))
        split = decompose(series, trends.season_lengths, trends.weight)
        level[row] = max(float(split.trend[-1]), 0.0)
        slope[row] = split.slope
        season[row] = split.season_ahead(1)[0]
        if trends.item_method != "share":
            own = forecast(trends.item_method, series, horizon, trends)
            if own is not None:
                ahead[row], methods[row] = own, trends.item_method
    return Outlook(level, slope, season, ahead, methods)


def category_outlook(
    categories: Categories, trends: TrendsConfig, weight: float, horizon: int
) -> Outlook:
    """Return level, slope, season and forecasts of the categories and, last, of everything.

    Categories without demand enough for a model have the method `smoothing`.

    Args:
        categories: their demand.
        trends: the method.
        weight: of the smoothing; `level`, which shares are taken of, is the smoothed mean here.
        horizon: H.
    """
    demand = categories.demand
    level = levels(demand, weight)
    slope, season = np.zeros(len(demand)), np.zeros(len(demand))
    ahead = np.repeat(level[:, None], horizon, axis=1)
    methods = np.full(len(demand), SMOOTHING, object)
    everything = len(demand) - 1
    modelled = np.union1d(busiest(demand, trends.head), enough(demand, np.array([everything])))
    for row in track(modelled, "forecast categories") if len(modelled) else ():
        series = demand.series(int(row))
        found = forecast(trends.category_method, series, horizon, trends)
        if found is not None:
            split = decompose(series, trends.season_lengths, trends.weight)
            ahead[row], methods[row] = found, trends.category_method
            slope[row], season[row] = split.slope, split.season_ahead(1)[0]
    return Outlook(level, slope, season, ahead, methods)


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
