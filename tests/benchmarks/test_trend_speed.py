"""What forecasts of demand cost and how far off they are: candidates side by side.

    make bench PYTEST_ARGS="-k trends"

CPU time is `time.process_time` of one process with one thread. Prints the tables of
docs/benchmarks.md; nothing about time is asserted. About three minutes, most of them spent on the
candidates that were not chosen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import load
import numpy as np
import pytest

from recommender.baselines.rivals import fit as fit_rival
from recommender.config import Config, parse
from recommender.config import load as load_config
from recommender.evaluation.assess import assess
from recommender.evaluation.backtest import backtest, spread
from recommender.evaluation.metrics.forecast import scale
from recommender.features.build import catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.demand import category_demand, item_demand
from recommender.features.forecasters import fit, forecast
from recommender.features.sequences import Catalogue, EventLog
from recommender.features.trends import item_trend, outlook
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.split import cut

ROOT = Path(__file__).parents[2]
WEEK = 7
OURS = ("smoothing", "ar", "ma", "arma", "sarma", "sarima", "decomposition")
ORDERS = {
    "arma": ((1, 0, 1), (0, 0, 0)),
    "sarma": ((1, 0, 1), (1, 0, 1)),
    "sarima": ((0, 1, 1), (0, 1, 1)),
}
DATA = [
    "synthetic",
    pytest.param("movielens-small", marks=pytest.mark.needs_data),
    pytest.param("online-retail", marks=pytest.mark.needs_data),
]


def dataset_of(name: str, shared: Path, workspace: Path) -> tuple[Dataset, Config]:
    places = {
        "movielens-small": {"source.location": str(shared / "ml-latest-small")},
        "online-retail": {"source.events.location": str(shared / "online-retail-ii")},
    }
    given = {"workspace": str(workspace), **places.get(name, {})}
    config = load_config(ROOT / "configs" / f"{name}.yaml", given)
    tables = clean(read(config)[0], config, datetime(2026, 1, 1, tzinfo=UTC)).tables
    items = catalogue_order(tables.items)
    catalogue = Catalogue(tuple(items["item_id"].to_pylist()))
    log = EventLog.build(tables.events, catalogue, config.actions)
    history = log.of_types(config.actions.histories, config.actions)
    folds = cut(history.times, config.split)
    text = np.zeros((len(catalogue), 2), np.float32)
    return Dataset(log, items, text, folds, "d", "e"), config


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.benchmark
@pytest.mark.parametrize("library", ["statsmodels", "statsforecast"])
def test_trends_import_and_first_fit(library: str) -> None:
    """A fresh process: the import, the first fit of an ARMA(1, 1), the second."""
    programs = {
        "statsmodels": (
            "from statsmodels.tsa.statespace.sarimax import SARIMAX\n"
            "from statsmodels.tsa.seasonal import STL\n"
            "from statsmodels.tsa.ar_model import AutoReg",
            "SARIMAX(y, order=(1, 0, 1)).fit(disp=0, cov_type='none')",
        ),
        "statsforecast": (
            "from statsforecast.models import ARIMA",
            "ARIMA(order=(1, 0, 1)).fit(y)",
        ),
    }
    imports, first = programs[library]
    told = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "import time\nimport numpy as np\nimport pandas\nimport scipy\n"
            "y = np.random.default_rng(0).normal(size=120)\nt = [time.process_time()]\n"
            f"{imports}\nt.append(time.process_time())\n{first}\nt.append(time.process_time())\n"
            f"{first}\nt.append(time.process_time())\nprint(*np.diff(t))",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    imported, one, two = (float(value) for value in told[-3:])
    print(
        f"\n{library}: import {imported:.2f} s, first fit {1e3 * one:.0f} ms, then {1e3 * two:.0f}"
    )


def others() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The candidates that were not chosen."""
    from statsforecast.models import ARIMA, AutoARIMA
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    def theirs(order, seasonal, method):
        return lambda series: ARIMA(
            order=order, season_length=WEEK, seasonal_order=seasonal, method=method
        ).forecast(series.copy(), WEEK)["mean"]

    def untuned(order, seasonal):
        trend = "n" if order[1] else "c"
        return lambda series: (
            SARIMAX(series, order=order, seasonal_order=(*seasonal, WEEK), trend=trend)
            .fit(disp=0)
            .forecast(WEEK)
        )

    found = {}
    for name, (order, seasonal) in ORDERS.items():
        for method in ("CSS", "CSS-ML"):
            found[f"statsforecast {name} {method}"] = theirs(order, seasonal, method)
        if any(seasonal):
            found[f"statsmodels {name} as it comes"] = untuned(order, seasonal)
    found["statsforecast AutoARIMA"] = lambda series: AutoARIMA(season_length=WEEK).forecast(
        series.copy(), WEEK
    )["mean"]
    return found


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["synthetic", DATA[2]])
def test_trends_by_series(name: str, shared_data: Path, tmp_path: Path) -> None:
    """CPU per series and MASE of the next week, for ours and for those not chosen."""
    dataset, config = dataset_of(name, shared_data, tmp_path)
    trends = config.features.trends
    demand = item_demand(dataset.log, dataset.items, config, dataset.folds[-1].test_end)
    origin = demand.periods - WEEK
    rows = spread(demand, np.arange(len(demand)), origin, 12)
    past = demand.before(origin)
    pairs = [(past.series(int(row)), demand.dense(np.array([row]))[0, origin:]) for row in rows]
    categories = category_demand(demand, dataset.items).demand
    known = categories.before(origin)
    pairs += [
        (known.series(row), categories.dense(np.array([row]))[0, origin:])
        for row in range(len(categories))
    ]
    candidates = {
        "naive": lambda series: np.full(WEEK, series[-1]),
        "seasonal-naive": lambda series: np.resize(series[-WEEK:], WEEK),
        **{
            method: lambda series, method=method: forecast(method, series, WEEK, trends)
            for method in OURS
        },
        **others(),
    }
    print(f"\n\n{name}: {len(rows)} items, {len(pairs) - len(rows)} categories and all together\n")
    print("| forecast | CPU ms per series | failed | MASE of those that didn't fail |")
    print("|---|---:|---:|---:|")
    for label, work in candidates.items():
        spent, failed, found = 0.0, 0, []
        for series, truth in pairs:
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    ahead = work(series)
                except Exception:  # noqa: BLE001 - libraries fail in many ways, all count
                    ahead = None
            spent += time.process_time() - start
            if ahead is None or not np.isfinite(ahead).all() or max(ahead) > 3 * series.max():
                failed += 1
                continue
            found.append(np.abs(np.maximum(ahead, 0) - truth).mean() / scale(series, WEEK))
        mase = f"{np.mean(found):.3f}" if found else "–"
        print(f"| {label} | {1e3 * spent / len(pairs):.2f} | {failed} of {len(pairs)} | {mase} |")
    assert pairs


@pytest.mark.benchmark
def test_trends_of_a_catalogue() -> None:
    """`item_trend` for 20 k items and 5 M events, against a model of its own for every item."""
    config = parse(
        {
            "name": "load",
            "source": {"kind": "synthetic"},
            "actions": {"types": ["view", "purchase"]},
        },
        "the benchmark",
    )
    tables = load.tables()
    items = catalogue_order(tables.items)
    log = EventLog.build(
        tables.events, Catalogue(tuple(items["item_id"].to_pylist())), config.actions
    )
    as_of = int(log.times.max()) + 1
    forecast("decomposition", np.arange(60.0) % 7, 1, config.features.trends)  # the import
    demand = item_demand(log, items, config, as_of)
    categories = category_demand(demand, items)
    trends = config.features.trends
    whole = cpu(lambda: item_trend(log, items, config, as_of))
    parts = {
        "demand": cpu(lambda: item_demand(log, items, config, as_of)),
        "categories": cpu(lambda: category_demand(demand, items)),
        "outlook": cpu(lambda: outlook(demand, categories, trends, 1)),
    }
    told = ", ".join(f"{name} {seconds:.2f}" for name, seconds in parts.items())
    print(f"\n\n20,000 items, 5 M events: item_trend {whole:.2f} s of CPU ({told})\n")
    rows = np.linspace(0, len(demand) - 1, 50).astype(int)
    print("| model of its own for every item | CPU s for 20,000 (50 measured) | over item_trend |")
    print("|---|---:|---:|")
    for method in OURS[1:]:
        spent = cpu(
            lambda method=method: [forecast(method, demand.series(row), 1, trends) for row in rows]
        )
        total = spent / len(rows) * len(demand)
        print(f"| {method} | {total:.0f} | {total / whole:.0f} × |")


@pytest.mark.benchmark
def test_trends_carried_on() -> None:
    """Rolling an origin forward with the same parameters, against fitting again."""
    rng = np.random.default_rng(3)
    week = np.resize([8.0, 9, 11, 9, 14, 5, 1], 126)
    trends = parse(
        {"name": "x", "source": {"kind": "synthetic"}, "actions": {"types": ["buy"]}}, "x"
    ).features.trends
    many = [rng.poisson(week).astype(float) for _ in range(10)]
    print("\n\n| model | fit ms | carried on ms |\n|---|---:|---:|")
    for method in ("ma", "arma", "sarma", "sarima"):
        models = []
        fitting = cpu(lambda m=method, out=models: out.extend(fit(m, y[:-7], trends) for y in many))
        carrying = cpu(lambda out=models: [f(y, 7) for f, y in zip(out, many, strict=True)])
        print(f"| {method} | {100 * fitting:.1f} | {100 * carrying:.1f} |")


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DATA)
def test_trends_backtest(name: str, shared_data: Path, tmp_path: Path) -> None:
    """The report's backtest, as it comes, and the popularity that forecasts rank."""
    dataset, config = dataset_of(name, shared_data, tmp_path)
    trend = cpu(
        lambda: item_trend(dataset.log, dataset.items, config, dataset.folds[-1].test_start)
    )
    start = time.process_time()
    found = backtest(dataset.log, dataset.items, config, dataset.folds[-1].test_end)
    spent = time.process_time() - start
    print(
        f"\n\n{name}: item_trend {trend:.2f} s, backtest {spent:.1f} s of CPU; imports in the first"
    )
    for group in found.groups:
        print(
            f"\n{group.series} {group.name}, {len(found.origins)} origins, {found.horizon} ahead\n"
        )
        print("| forecast | MAE | RMSE | MASE | MASE over naive | over seasonal-naive |")
        print("|---|---:|---:|---:|---:|---:|")
        for facts in group.methods:
            errors = " | ".join(f"{facts.errors[n].estimate:.3f}" for n in ("mae", "rmse", "mase"))
            over = " | ".join(
                spread_of(found_over)
                for found_over in (facts.over_naive, facts.over_seasonal_naive)
            )
            print(f"| {facts.method} | {errors} | {over} |")
    models = [fit_rival("popularity", dataset, fold, config) for fold in dataset.folds]
    off = {"backtest": None, "rivals": ("recent-popularity", "trend-popularity")}
    settings = config.evaluation.model_copy(update=off)
    evidence = assess(dataset, models, config.model_copy(update={"evaluation": settings})).evidence
    duel = evidence.forecast_popularity
    assert duel is not None
    gap = duel.difference["ndcg@10"]
    print(
        f"\nNDCG@10: popularity {evidence.system('candidate').metrics['ndcg@10'].estimate:.4f}, "
        f"recent {duel.rival_metrics['ndcg@10'].estimate:.4f}, "
        f"by forecast {duel.candidate['ndcg@10'].estimate:.4f}; forecast minus recent "
        f"{gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}), {duel.users:,} users"
    )


def spread_of(found) -> str:
    if found is None:
        return "–"
    mase = found["mase"]
    if mase.low is None:
        return f"{mase.estimate:+.1%}"
    return f"{mase.estimate:+.1%} ({mase.low:+.1%} to {mase.high:+.1%})"
