"""The trend of every item: complete, sound, blind to the future, and right where it is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from demand_worlds import DAY, MONDAY, bought, config_of, weekly, world
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.features.demand import category_demand, item_demand
from recommender.features.shares import WEIGHTS, best_weight
from recommender.features.smoothing import levels, running_level, shrunken_levels
from recommender.features.trends import item_outlook, item_trend

COLUMNS = {
    "item_id": pa.string(),
    "as_of": pa.int64(),
    "level": pa.float64(),
    "slope": pa.float64(),
    "season": pa.float64(),
    "forecast": pa.float64(),
    "method": pa.string(),
    "period_ms": pa.int64(),
}
PERIODS = 7 * 12
END = MONDAY + PERIODS * DAY
ITEMS = [
    {"item_id": "big", "categories": ["garden"]},
    {"item_id": "small", "categories": ["garden"]},
    {"item_id": "alone", "categories": None},
    {"item_id": "young", "categories": ["garden"]},
    {"item_id": "unseen", "categories": ["garden"]},
]


def shop() -> dict[str, np.ndarray]:
    """Garden things sell by the week, `big` nine times as often as `small`."""
    young = np.zeros(PERIODS, int)
    young[-1] = 2
    return {
        "big": 9 * weekly(PERIODS, 2.0),
        "small": weekly(PERIODS, 2.0),
        "alone": np.full(PERIODS, 5),
        "young": young,
    }


def rows_of(config=None, as_of=END, events=None, items=ITEMS):
    config = config or config_of()
    log, table = world(events or bought(shop()), items, config)
    found = item_trend(log, table, config, as_of)
    return {row["item_id"]: row for row in found.to_pylist()}, found


def test_every_item_has_a_row_in_catalogue_order_without_nulls() -> None:
    rows, found = rows_of()
    assert dict(zip(found.column_names, found.schema.types, strict=True)) == COLUMNS
    assert list(rows) == sorted(row["item_id"] for row in ITEMS)
    for name in COLUMNS:
        assert found[name].null_count == 0
    for name in ("level", "slope", "season", "forecast"):
        assert np.isfinite(found[name].to_numpy()).all()
    assert set(found["as_of"].to_pylist()) == {END}
    assert set(found["period_ms"].to_pylist()) == {DAY}


def test_items_follow_the_week_of_their_category() -> None:
    config = config_of()
    log, table = world(bought(shop()), ITEMS, config)
    ahead = item_outlook(log, table, config, END, 7).ahead
    big, small = (ahead[table["item_id"].to_pylist().index(name)] for name in ("big", "small"))
    np.testing.assert_allclose(big, 18 * np.array([1, 1.2, 1.5, 1.2, 2, 0.8, 0]), atol=4)
    assert big[6] < 1  # closed
    np.testing.assert_allclose(big / 9, small, rtol=0.15, atol=0.05)  # shares, but for the prior


def test_the_next_day_and_its_season_are_those_of_the_weekday() -> None:
    thursday, _ = rows_of(as_of=END - 3 * DAY)  # the next is Friday, the busiest
    monday, _ = rows_of()
    assert thursday["big"]["forecast"] > 1.5 * monday["big"]["forecast"]
    assert thursday["big"]["season"] > 0
    assert thursday["small"]["season"] > 0


def test_what_never_changes_stays_and_what_was_never_taken_is_zero() -> None:
    rows, _ = rows_of()
    assert rows["alone"]["level"] == pytest.approx(5, abs=0.1)
    assert rows["alone"]["slope"] == pytest.approx(0, abs=0.02)
    unseen = rows["unseen"]
    assert unseen["method"] == "none"
    assert [unseen[name] for name in ("level", "slope", "season", "forecast")] == [0, 0, 0, 0]


def test_one_good_first_day_does_not_make_an_item_a_star() -> None:
    rng = np.random.default_rng(6)
    names = [f"i{n:02}" for n in range(30)]
    counts = {name: rng.poisson(0.5, PERIODS) for name in names}
    counts["young"] = np.array([0] * (PERIODS - 1) + [5])
    config = config_of()
    log, table = world(bought(counts), [*names, "young"], config)
    demand = item_demand(log, table, config, END)
    assert levels(demand, 0.1)[-1] == pytest.approx(5)
    drawn = shrunken_levels(demand, 0.1)
    assert 0.5 < drawn[-1] < 1.5
    # Those with a long past all sold alike: they are drawn together too, but in their order.
    assert drawn[:-1].std() < levels(demand, 0.1)[:-1].std()
    rows = {row["item_id"]: row for row in item_trend(log, table, config, END).to_pylist()}
    assert 0 < rows["young"]["forecast"] < 1.5


def test_a_rising_category_lifts_its_items() -> None:
    rising = {"big": np.arange(PERIODS) // 2, "small": np.ones(PERIODS, int)}
    rows, _ = rows_of(config_of(head=1), events=bought(rising))
    assert rows["big"]["slope"] == pytest.approx(0.5, abs=0.1)
    assert rows["small"]["slope"] > 0  # it follows its category


@pytest.mark.parametrize("method", ["ar", "ma", "arma", "sarma", "sarima", "decomposition"])
def test_the_head_may_have_models_of_its_own(method) -> None:
    rows, _ = rows_of(config_of(item_method=method, category_method=method))
    assert rows["big"]["method"] == method
    assert rows["young"]["method"] in ("share", "smoothing")
    assert rows["unseen"]["method"] == "none"
    assert rows["big"]["forecast"] >= 0


def test_without_a_head_everything_is_smoothed() -> None:
    config, events = config_of(head=0, smoothing=0.1), bought({"big": [3] * 5})
    rows, _ = rows_of(config, MONDAY + 5 * DAY, events)
    assert rows["big"]["method"] == "smoothing"
    assert rows["big"]["forecast"] == pytest.approx(3)


@pytest.mark.parametrize("moment", [MONDAY, MONDAY - 5, MONDAY + 1, MONDAY + DAY])
def test_at_the_very_beginning_nothing_is_known_and_nothing_breaks(moment) -> None:
    rows, found = rows_of(as_of=moment)
    assert len(rows) == len(ITEMS)
    assert np.isfinite(found["forecast"].to_numpy()).all()


def test_nothing_at_or_after_the_moment_leaves_a_trace() -> None:
    as_of = END - 10 * DAY
    _, blind = rows_of(as_of=as_of, events=[e for e in bought(shop()) if e[3] < as_of])
    planted = [(f"x{n}", "unseen", "buy", as_of + n) for n in range(50)]
    _, seeing = rows_of(as_of=as_of, events=bought(shop()) + planted)
    assert blind.equals(seeing)


def test_the_running_period_does_not_look_like_a_slump() -> None:
    _, morning = rows_of(as_of=END - DAY)
    _, noon = rows_of(as_of=END - DAY // 2)
    kept = [name for name in COLUMNS if name != "as_of"]
    assert morning.select(kept).equals(noon.select(kept))


def test_the_order_of_events_in_the_log_does_not_matter() -> None:
    events = bought(shop())
    _, first = rows_of(events=events)
    _, again = rows_of(events=events[::-1])
    assert first.equals(again)


def test_levels_are_those_of_pandas() -> None:
    config = config_of()
    log, table = world(bought(shop()), ITEMS, config)
    demand = item_demand(log, table, config, END)
    for row, level in enumerate(levels(demand, 0.1)):
        series = demand.series(row)
        if len(series):
            theirs = pd.Series(series).ewm(alpha=0.1, adjust=True).mean()
            assert level == pytest.approx(theirs.iloc[-1])
            np.testing.assert_allclose(running_level(series, 0.1), theirs)


@pytest.mark.parametrize(("drifting", "best"), [(False, WEIGHTS[0]), (True, WEIGHTS[-1])])
def test_shares_that_last_get_a_long_memory_and_shares_that_change_a_short_one(
    drifting: bool, best: float
) -> None:
    rng = np.random.default_rng(4)
    days = np.arange(200)
    wave = 10 + 9 * np.sin(days / 6) if drifting else np.full(200, 10.0)
    events = bought({"a": rng.poisson(wave), "b": rng.poisson(20 - wave)})
    config = config_of()
    log, table = world(events, ["a", "b"], config)
    demand = item_demand(log, table, config, MONDAY + 200 * DAY)
    assert best_weight(demand, category_demand(demand, table)) == best


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 60 * DAY), st.integers(1, 30)),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 61 * DAY),
    st.sampled_from(["hour", "day", "week"]),
)
def test_whatever_the_log_rows_are_finite_and_not_negative(bursts, after, period) -> None:
    events = [
        ("u", item, "buy", MONDAY + at + n) for item, at, times in bursts for n in range(times)
    ]
    named = {"a": ["x"], "b": ["x", "y"], "c": [], "d": None}
    items = [{"item_id": item, "categories": names} for item, names in named.items()]
    _, found = rows_of(config_of(period=period), MONDAY + after, events, items)
    for name in ("level", "slope", "season", "forecast"):
        assert np.isfinite(found[name].to_numpy()).all()
    for name in ("level", "forecast"):
        assert (found[name].to_numpy() >= 0).all()
