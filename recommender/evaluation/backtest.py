"""How good the forecasts of demand are, by rolling origins.

From each of several moments (origins) in the past, every method forecasts the next periods from
what had been logged strictly before that moment; then time tells. Which series are looked at is
decided at the first origin too. Models whose parameters are searched for (`ma`, `arma`, `sarma`,
`sarima`) are fitted at the first origin and carried on with the same parameters; all others are
fitted anew. A forecast that a method can't make is replaced by `smoothing`, and counted.

Series, not periods, are the units of the paired bootstrap. Series of one shop rise and fall
together, so the intervals say how the methods differ over such series in such a time, not what
another season would have shown.

Shape letters: S series, K origins, H periods ahead, M methods.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from recommender.config import Config
from recommender.config.evaluation import BacktestConfig
from recommender.config.trends import TrendsConfig
from recommender.evaluation.backtest_facts import (
    NAIVE,
    SEASONAL_NAIVE,
    BacktestFacts,
    GroupFacts,
    MethodFacts,
)
from recommender.evaluation.metrics.forecast import NAMES, Doubles, errors, scale
from recommender.evaluation.records import Interval
from recommender.evaluation.statistics import Intervals, PairedBootstrap
from recommender.features.demand import Categories, Demand, category_demand, item_demand
from recommender.features.forecasters import Forecaster, ForecastMethod, fit, forecast
from recommender.features.sequences import EventLog, Ints
from recommender.features.shares import SHARE, best_weight, shares
from recommender.features.trends import category_outlook, enough
from recommender.progress import Progress

METHODS: tuple[ForecastMethod, ...] = get_args(ForecastMethod)
_SEASONS_BEFORE, _PERIODS_BEFORE, _LEAST_ORIGINS = 4, 24, 2

Shared = Callable[[Ints, Ints], Doubles]
"""Takes items (rows) and origins; returns their forecasts by shares, (S, K, H)."""


def backtest(log: EventLog, items: pa.Table, config: Config, until: int) -> BacktestFacts:
    """Measure every method on item and category demand.

    Args:
        log: at least of the events that make up histories.
        items: the canonical item table in catalogue order.
        config: `features.trends` and `evaluation.backtest`, which must be there; what a success is.
        until: UTC milliseconds; nothing at or after it is read.

    Returns:
        Figures by group of series, or the reason why there are none.
    """
    settings, trends = config.evaluation.backtest or BacktestConfig(), config.features.trends
    horizon = trends.periods_ahead
    demand = item_demand(log, items, config, until)
    season = trends.season_lengths[0] if trends.season_lengths else 0
    needed = max(_SEASONS_BEFORE * season, _PERIODS_BEFORE)
    fitting = min(settings.origins, (demand.periods - needed) // horizon)
    origins = demand.periods - horizon * np.arange(fitting, 0, -1)
    facts = {
        "period": trends.period,
        "season": season,
        "horizon": horizon,
        "confidence": config.evaluation.confidence,
        "resamples": config.evaluation.resamples,
    }
    least = min(settings.origins, _LEAST_ORIGINS)
    if fitting < least:
        reason = (
            f"the log holds {demand.periods:,} whole {trends.period}s; {needed} to learn from and "
            f"{least} origins with {horizon} to foresee each need {needed + least * horizon:,}. "
            "Times that are only an order count as too short."
        )
        return BacktestFacts(**facts, origins=(), groups=(), reason=reason)
    categories = category_demand(demand, items)
    groups = _groups(demand, categories, int(origins[0]), settings, trends)
    if not groups:
        reason = (
            "no item and no category had demand in ten periods and a quarter of its periods before "
            "the first origin: such series are zeros with exceptions"
        )
        return BacktestFacts(**facts, origins=(), groups=(), reason=reason)
    todo = sum(len(rows) for _, _, rows, _ in groups) * len(METHODS)
    progress = Progress("backtest the forecasts", todo)
    # Matrices of a few rows: more threads only wait for each other, at ten times the cost. The
    # limit holds for libraries that are there already.
    importlib.import_module("statsmodels.tsa.statespace.sarimax")
    with threadpool_limits(limits=1):
        told = tuple(
            _measure(name, series, rows, origins, config, share, progress)
            for name, series, rows, share in groups
        )
    moments = tuple(int(demand.first + origin * demand.period) for origin in origins)
    return BacktestFacts(
        **facts, origins=moments, groups=tuple(g for g in told if g is not None), reason=None
    )


def _groups(
    demand: Demand,
    categories: Categories,
    first: int,
    settings: BacktestConfig,
    trends: TrendsConfig,
) -> list[tuple[str, Demand, Ints, Shared | None]]:
    """Choose the series, by what was known at the first origin."""
    sums, everything = categories.demand, len(categories.demand) - 1

    def share(rows: Ints, origins: Ints) -> Doubles:
        return shared_forecasts(demand, categories, rows, origins, trends)

    chosen: list[tuple[str, Demand, Ints, Shared | None]] = [
        ("items", demand, spread(demand, np.arange(len(demand)), first, settings.items), share),
        ("categories", sums, spread(sums, np.arange(everything), first, settings.categories), None),
        ("all items together", sums, spread(sums, np.array([everything]), first, 1), None),
    ]
    return [group for group in chosen if len(group[2])]


def spread(demand: Demand, rows: Ints, first: int, most: int) -> Ints:
    """Choose series from the most to the least popular, by what was known at the first origin.

    Args:
        demand: the series on the whole grid.
        rows: to choose from; those without demand enough for a model are left out.
        first: the first origin, a period of the grid.
        most: at most this many are chosen, evenly spread over their order by demand.
    """
    known = demand.before(first)
    fit_for = enough(known, rows[known.lengths[rows] >= _PERIODS_BEFORE])
    ordered = fit_for[np.argsort(-known.totals[fit_for], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round().astype(np.int64)
    return np.asarray(ordered[places])


def shared_forecasts(
    demand: Demand, categories: Categories, rows: Ints, origins: Ints, trends: TrendsConfig
) -> Doubles:
    """Forecast some items by their shares from every origin, (S, K, H)."""
    made = []
    for origin in origins:
        known = demand.before(int(origin))
        pooled = Categories(
            categories.demand.before(int(origin)), categories.owners, categories.members
        )
        weight = trends.smoothing or best_weight(known, pooled)
        pools = category_outlook(pooled, trends, weight, trends.periods_ahead)
        made.append(shares(known, pooled, pools, weight).ahead[rows])
    return np.stack(made, axis=1)


def forecasts(
    method: ForecastMethod, demand: Demand, row: int, origins: Ints, trends: TrendsConfig
) -> tuple[Doubles, int]:
    """Forecast one series from every origin.

    Args:
        method: which.
        demand: the series on the whole grid.
        row: of the series.
        origins: periods of the grid, rising; what is in or after one is not seen from it.
        trends: horizon and orders.

    Returns:
        The forecasts (K, H), and how many of them `smoothing` had to make.
    """
    horizon = trends.periods_ahead
    fitted: Forecaster | None = None
    made, replaced = [], 0
    for n, origin in enumerate(origins):
        past = demand.before(int(origin)).series(row)
        fitted = fit(method, past, trends) if n == 0 else fitted
        ahead = None if fitted is None else fitted(past, horizon)
        if ahead is None:
            ahead = forecast("smoothing", past, horizon, trends)
            replaced += 1
        made.append(np.zeros(horizon) if ahead is None else ahead)
    return np.stack(made), replaced


def _measure(
    name: str,
    demand: Demand,
    rows: Ints,
    origins: Ints,
    config: Config,
    share: Shared | None,
    progress: Progress,
) -> GroupFacts | None:
    """Measure every method on a group of series; None if no error can be scaled."""
    trends = config.features.trends
    season, horizon = max([1, *trends.season_lengths[:1]]), trends.periods_ahead
    known = [demand.before(int(origin)) for origin in origins]
    scale_SK = np.array([[scale(past.series(int(row)), season) for past in known] for row in rows])
    scaled = (scale_SK > 0).all(axis=1)
    rows, scale_SK = rows[scaled], scale_SK[scaled]
    progress.advance(int((~scaled).sum()) * len(METHODS))
    if not len(rows):
        return None
    span = origins[:, None] + np.arange(horizon)
    truth_SKH = demand.dense(rows)[:, span]
    found: dict[str, tuple[Doubles, int]] = {}
    for method in METHODS:
        parts = []
        for row in rows:
            parts.append(forecasts(method, demand, int(row), origins, trends))
            progress.advance()
        replaced = sum(count for _, count in parts)
        if replaced < len(rows) * len(origins):
            found[method] = np.stack([ahead for ahead, _ in parts]), replaced
    if share is not None:
        found[SHARE] = share(rows, origins), 0
    values_SM3 = np.stack(
        [errors(truth_SKH, ahead, scale_SK) for ahead, _ in found.values()], axis=1
    )
    return GroupFacts(
        name=name,
        series=len(rows),
        unscaled=int((~scaled).sum()),
        methods=_compare(values_SM3, list(found), [n for _, n in found.values()], config),
    )


def _compare(
    values_SM3: Doubles, names: Sequence[str], replaced: Sequence[int], config: Config
) -> tuple[MethodFacts, ...]:
    """Return every method's errors and how they stand to the naive ones."""
    settings = config.evaluation
    bootstrap = PairedBootstrap(
        values_SM3,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=config.seed,
    )

    def named(found: Intervals) -> dict[str, Interval]:
        # One series has an error, but nothing to draw an interval from.
        low, high = (found.low, found.high) if bootstrap.users > 1 else (np.full(3, np.nan),) * 2
        rows = zip(NAMES, found.estimate, low, high, strict=True)
        return {name: Interval.of(mid, down, up) for name, mid, down, up in rows}

    def against(method: int, rival: str) -> dict[str, Interval] | None:
        if rival not in names or names[method] == rival:
            return None
        return named(bootstrap.relative(method, names.index(rival)))

    return tuple(
        MethodFacts(
            method=name,
            errors=named(bootstrap.mean(n)),
            over_naive=against(n, NAIVE),
            over_seasonal_naive=against(n, SEASONAL_NAIVE),
            replaced=replaced[n],
        )
        for n, name in enumerate(names)
    )
