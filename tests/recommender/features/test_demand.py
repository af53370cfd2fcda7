"""Demand is counted on a complete UTC grid, strictly before a moment."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from demand_worlds import DAY, HOUR, MONDAY, WEEK, bought, config_of, world
from hypothesis import given
from hypothesis import strategies as st

from recommender.features.demand import category_demand, item_demand


def counted(events, items, as_of, config=None):
    config = config or config_of()
    log, table = world(events, items, config)
    return item_demand(log, table, config, as_of)


def test_every_period_is_there_and_only_successes_are_counted() -> None:
    events = [
        ("u", "a", "buy", MONDAY + 1),
        ("v", "a", "buy", MONDAY + DAY - 1),
        ("u", "a", "buy", MONDAY + 3 * DAY),
        ("u", "a", "click", MONDAY + 2 * DAY),
        ("u", "b", "view", MONDAY),
    ]
    demand = counted(events, ["a", "b"], MONDAY + 5 * DAY)
    assert (demand.first, demand.period, demand.periods) == (MONDAY, DAY, 5)
    np.testing.assert_array_equal(demand.series(0), [2, 0, 0, 1, 0])
    np.testing.assert_array_equal(demand.totals, [3, 0])


def test_a_series_starts_when_the_item_was_first_taken_or_created() -> None:
    made = datetime.fromtimestamp((MONDAY + DAY) / 1000, UTC)
    late = datetime.fromtimestamp((MONDAY + 4 * DAY) / 1000, UTC)
    early = datetime.fromtimestamp((MONDAY - 40 * DAY) / 1000, UTC)
    items = [
        "first",
        "clicked",
        {"item_id": "made", "created": made},
        {"item_id": "misdated", "created": late},
        {"item_id": "old", "created": early},
        "unseen",
    ]
    events = [
        ("u", "first", "buy", MONDAY),
        ("u", "clicked", "click", MONDAY + DAY),
        ("u", "clicked", "buy", MONDAY + 3 * DAY),
        ("u", "made", "buy", MONDAY + 2 * DAY),
        ("u", "misdated", "buy", MONDAY + 2 * DAY),
    ]
    demand = counted(events, items, MONDAY + 5 * DAY)
    lengths = dict(zip(demand.names, demand.lengths.tolist(), strict=True))
    # Nothing was logged before the log's first day, so "old" can't begin earlier.
    assert lengths == {"first": 5, "clicked": 4, "made": 4, "misdated": 3, "old": 5, "unseen": 0}
    np.testing.assert_array_equal(demand.series(demand.names.index("made")), [0, 1, 0, 0])


def test_the_running_period_is_left_out() -> None:
    events = bought({"a": [1, 2, 3]})
    whole = counted(events, ["a"], MONDAY + 2 * DAY + 5)
    np.testing.assert_array_equal(whole.series(0), [1, 2])


def test_weeks_begin_on_mondays_and_hours_on_the_hour() -> None:
    events = [
        ("u", "a", "buy", MONDAY - 1),
        ("u", "a", "buy", MONDAY),
        ("u", "a", "buy", MONDAY + DAY),
    ]
    weeks = counted(events, ["a"], MONDAY + WEEK, config_of(period="week"))
    assert weeks.first == MONDAY - WEEK
    np.testing.assert_array_equal(weeks.series(0), [1, 2])
    hours = counted(events, ["a"], MONDAY + 25 * HOUR, config_of(period="hour"))
    assert hours.first == MONDAY - HOUR
    np.testing.assert_array_equal(np.flatnonzero(hours.series(0)), [0, 1, 25])


def test_only_the_latest_window_is_read() -> None:
    demand = counted(bought({"a": [5, 4, 3, 2, 1]}), ["a"], MONDAY + 5 * DAY, config_of(window=2))
    assert demand.first == MONDAY + 3 * DAY
    np.testing.assert_array_equal(demand.series(0), [2, 1])


def test_categories_add_up_their_items_and_everything_all_of_them() -> None:
    items = [
        {"item_id": "a", "categories": ["red", "big", "red"]},
        {"item_id": "b", "categories": ["red"]},
        {"item_id": "c", "categories": None},
    ]
    events = bought({"a": [1, 0, 2], "b": [0, 3, 1], "c": [0, 0, 4]})
    config = config_of()
    log, table = world(events, items, config)
    demand = item_demand(log, table, config, MONDAY + 3 * DAY)
    found = category_demand(demand, table)
    rows = {name: found.demand.series(n).tolist() for n, name in enumerate(found.demand.names)}
    assert rows == {"big": [1, 0, 2], "red": [1, 3, 3], "": [1, 3, 7]}
    assert list(zip(found.owners, found.members, strict=True)) == [(0, 0), (0, 1), (1, 1)]


def test_without_any_event_there_is_nothing_and_no_error() -> None:
    demand = counted([("u", "a", "buy", MONDAY)], ["a"], MONDAY)
    assert (demand.periods, demand.lengths.tolist(), demand.totals.tolist()) == (0, [0], [0])
    assert demand.series(0).shape == (0,)


events_strategy = st.lists(
    st.tuples(
        st.sampled_from("uv"),
        st.sampled_from("abc"),
        st.sampled_from(["view", "click", "buy"]),
        st.integers(MONDAY, MONDAY + 20 * DAY),
    ),
    min_size=1,
    max_size=40,
)


@given(events_strategy, st.integers(0, 20 * DAY), st.sampled_from(["hour", "day", "week"]))
def test_it_counts_what_a_plain_loop_counts_and_nothing_of_the_future(
    events, after, period
) -> None:
    config, as_of = config_of(period=period), MONDAY + after
    demand = counted(events, list("abc"), as_of, config)
    for row, item in enumerate("abc"):
        begin, series = demand.first + demand.starts[row] * demand.period, demand.series(row)
        for place, value in enumerate(series):
            low = begin + place * demand.period
            assert low + demand.period <= as_of
            assert value == sum(
                e[1] == item and e[2] == "buy" and low <= e[3] < low + demand.period for e in events
            )
    seen = [event for event in events if event[3] < as_of]
    if seen:
        again = counted(seen, list("abc"), as_of, config)
        np.testing.assert_array_equal(again.dense(np.arange(3)), demand.dense(np.arange(3)))
        np.testing.assert_array_equal(again.starts, demand.starts)


@given(events_strategy, st.integers(1, 19))
def test_what_was_known_earlier_is_the_same_seen_from_later(events, days) -> None:
    later = counted(events, list("abc"), MONDAY + 20 * DAY)
    then = later.first + min(days, later.periods) * DAY
    earlier = counted(events, list("abc"), then)
    past = later.before(min(days, later.periods))
    for row in range(3):
        np.testing.assert_array_equal(past.series(row), earlier.series(row))


def test_rows_in_any_order_can_be_asked_for() -> None:
    demand = counted(bought({"a": [1, 2], "b": [0, 0], "c": [3, 0]}), list("abc"), MONDAY + 2 * DAY)
    np.testing.assert_array_equal(demand.dense(np.array([2, 0])), [[3, 0], [1, 2]])
    assert demand.dense(np.array([], int)).shape == (0, 2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"seasons": [7, 7]}, "seasons"),
        ({"seasons": [1]}, "seasons"),
        ({"period": "month"}, "period"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"item_method": "prophet"}, "item_method"),
    ],
)
def test_a_wrong_setting_is_named(wrong, named) -> None:
    with pytest.raises(Exception, match=named):
        config_of(**wrong)
