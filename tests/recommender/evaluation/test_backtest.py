"""Rolling origins: hand-computed errors, no look ahead, honest about what can't be measured."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from demand_worlds import DAY, MONDAY, bought, config_of, weekly, world

from recommender.evaluation.backtest import (
    METHODS,
    backtest,
    forecasts,
    shared_forecasts,
    spread,
)
from recommender.evaluation.metrics.forecast import errors, scale
from recommender.features.demand import category_demand, item_demand

PERIODS = 7 * 14
END = MONDAY + PERIODS * DAY
NAMES = [f"i{n}" for n in range(6)]
ITEMS = [
    {"item_id": name, "categories": ["even" if n % 2 else "odd"]} for n, name in enumerate(NAMES)
]
SMALL = {"backtest": {"origins": 2, "items": 2, "categories": 1}}


def shop() -> list:
    return bought({name: weekly(PERIODS, 2.0 + n, seed=n) for n, name in enumerate(NAMES)})


def measured(config=None, events=None, until=END):
    config = config or config_of(SMALL)
    log, table = world(events or shop(), ITEMS, config)
    return backtest(log, table, config, until)


@cache
def plain():
    """What most tests look at; it takes a second."""
    return measured()


def test_errors_are_those_computed_by_hand() -> None:
    # One series, two origins, two periods ahead: errors 1, -1 and 3, 0.
    truth = np.array([[[2.0, 3], [5, 1]]])
    ahead = np.array([[[1.0, 4], [2, 1]]])
    mae, rmse, mase = errors(truth, ahead, np.array([[2.0, 0.5]]))[0]
    assert mae == pytest.approx(5 / 4)
    assert rmse == pytest.approx(np.sqrt(11 / 4))
    assert mase == pytest.approx((1 / 2 + 1.5 / 0.5) / 2)


def test_the_scale_is_the_mean_step_of_the_seasonal_naive_forecast() -> None:
    series = np.array([1.0, 5, 2, 9])
    assert scale(series, 1) == pytest.approx((4 + 3 + 7) / 3)
    assert scale(series, 2) == pytest.approx((1 + 4) / 2)
    assert scale(series, 4) == 0.0


def test_every_method_is_measured_against_both_naive_ones_with_intervals() -> None:
    found = plain()
    assert found.reason is None
    assert [group.name for group in found.groups] == ["items", "categories", "all items together"]
    assert found.origins == (END - 14 * DAY, END - 7 * DAY)
    items, categories, everything = found.groups
    assert (items.series, categories.series, everything.series) == (2, 1, 1)
    assert [m.method for m in items.methods] == [*METHODS, "share"]
    assert [m.method for m in categories.methods] == list(METHODS)
    by_name = {m.method: m for m in items.methods}
    assert by_name["naive"].over_naive is None
    for name in ("ar", "ma", "arma", "sarma", "sarima", "decomposition", "share"):
        facts = by_name[name]
        assert set(facts.errors) == {"mae", "rmse", "mase"}
        assert facts.errors["mae"].low <= facts.errors["mae"].estimate <= facts.errors["mae"].high
        assert facts.over_naive["mase"].estimate < 0  # all know more than the last day
        assert facts.replaced == 0
    # A single series has errors, but nothing to draw an interval from.
    alone = everything.methods[-1].errors["mase"]
    assert alone.estimate is not None
    assert (alone.low, alone.high) == (None, None)


def test_on_a_strong_week_those_who_know_seasons_win() -> None:
    mase = {m.method: m.errors["mase"].estimate for m in plain().group("items").methods}
    assert max(mase["share"], mase["decomposition"], mase["sarma"]) < 1.2
    assert min(mase["naive"], mase["smoothing"]) > 3


def test_its_naive_errors_are_those_computed_from_the_log() -> None:
    log, table = world(shop(), ITEMS, config_of(SMALL))
    demand = item_demand(log, table, config_of(SMALL), END).dense(np.array([0, 5]))
    by_hand = []
    for row in demand:
        e = [np.abs(row[o : o + 7] - row[o - 1]) for o in (PERIODS - 14, PERIODS - 7)]
        by_hand.append(np.concatenate(e).mean())
    naive = next(m for m in plain().group("items").methods if m.method == "naive")
    assert naive.errors["mae"].estimate == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_planted_at_or_after_an_origin_changes_no_forecast_from_it(method) -> None:
    config = config_of(SMALL)
    origins = np.array([PERIODS - 14, PERIODS - 7])
    made = []
    for planted in ([], [(f"x{n}", "i1", "buy", END - 7 * DAY + n) for n in range(99)]):
        log, table = world(shop() + planted, ITEMS, config)
        demand = item_demand(log, table, config, END)
        made.append(forecasts(method, demand, 1, origins, config.features.trends)[0])
    np.testing.assert_array_equal(made[0], made[1])


def test_nor_does_it_change_shares_or_which_series_are_looked_at() -> None:
    config = config_of(SMALL)
    origins = np.array([PERIODS - 14, PERIODS - 7])
    shared, chosen = [], []
    future = [(f"x{n}", "i0", "buy", END - 7 * DAY + n) for n in range(5000)]
    for planted in ([], future):
        log, table = world(shop() + planted, ITEMS, config)
        demand = item_demand(log, table, config, END)
        categories = category_demand(demand, table)
        rows = np.arange(6)
        shared.append(shared_forecasts(demand, categories, rows, origins, config.features.trends))
        chosen.append(spread(demand, rows, int(origins[0]), 3).tolist())
    np.testing.assert_array_equal(shared[0], shared[1])
    assert chosen[0] == chosen[1] == [5, 3, 0]  # from the most to the least popular, evenly


def test_what_lies_at_or_after_the_end_is_not_read() -> None:
    late = [(f"x{n}", "i0", "buy", END + n) for n in range(500)]
    # Which also shows that the same past gives the same figures.
    assert measured(events=shop() + late) == plain()


def test_a_short_log_gets_fewer_origins_and_a_shorter_one_the_reason() -> None:
    config = config_of({"backtest": {"origins": 10, "items": 1, "categories": 1}})
    assert len(measured(config, until=MONDAY + (28 + 3 * 7) * DAY).origins) == 3
    refused = measured(config, until=MONDAY + (28 + 13) * DAY)
    assert refused.groups == ()
    assert "41 whole days" in refused.reason
    assert "need 42" in refused.reason


def test_times_that_are_only_an_order_are_too_short() -> None:
    events = [("u", NAMES[n % 6], "buy", n) for n in range(500)]
    assert "only an order" in measured(events=events, until=500).reason


def test_a_log_of_rare_events_says_that_there_is_nothing_to_measure() -> None:
    events = [("u", name, "buy", MONDAY + 13 * n * DAY) for n, name in enumerate(NAMES)]
    found = measured(events=events)
    assert found.groups == ()
    assert "zeros with exceptions" in found.reason


def test_a_model_that_cannot_be_fitted_is_left_out_or_counted() -> None:
    config = config_of(SMALL, seasons=[])  # nothing seasonal can be fitted
    names = [m.method for m in measured(config).group("items").methods]
    assert "sarma" not in names
    assert "sarima" not in names
    assert "ar" in names


def test_series_that_never_change_are_left_out_and_counted() -> None:
    flat = bought({name: [4] * PERIODS for name in NAMES[:2]})
    lively = bought({NAMES[2]: weekly(PERIODS)})
    config = config_of({"backtest": {"origins": 2, "items": 6}})
    items = measured(config, flat + lively).group("items")
    assert (items.series, items.unscaled) == (1, 2)
