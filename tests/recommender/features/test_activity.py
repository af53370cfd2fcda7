"""Activity is what counting by hand over the events strictly before a moment gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, configuration, event_table, tables

from recommender.config.activity import ActivityConfig
from recommender.features.activity import DAY_MS, activity, activity_columns
from recommender.features.build import history_log

ITEMS = ["a", "b", "c"]
USERS = ["u1", "u2", "u10"]
WINDOWS = (1, 3, 7)

EVENT = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from(ACTIONS["types"]),
    # Around the borders of days and windows, before and after 1970.
    st.builds(
        lambda day, off: day * DAY_MS + off,
        st.integers(-9, 9),
        st.sampled_from([-1, 0, 1, DAY_MS // 2]),
    ),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return configuration(tmp_path_factory.mktemp("workspace"))


def counted(config, events, as_of, windows=WINDOWS):
    log = history_log(tables(events, ITEMS), config)
    rows = activity(log, config.actions, windows, as_of).to_pylist()
    return {row.pop("user_id"): row for row in rows}


def by_hand(events, user, as_of, windows=WINDOWS):
    """What the rule says, in the plainest words; None for a user without an event."""
    seen = [e for e in events if e[0] == user and e[3] < as_of and e[2] in ACTIONS["history"]]
    if not seen:
        return None

    def within(days):
        return [e for e in seen if e[3] >= as_of - days * DAY_MS]

    longest = max(windows)
    last = max(e[3] for e in seen)
    return {
        "events_total": len(seen),
        **{f"events_{days}d": len(within(days)) for days in windows},
        f"distinct_items_{longest}d": len({e[1] for e in within(longest)}),
        f"active_days_{longest}d": len({e[3] // DAY_MS for e in within(longest)}),
        f"successes_{longest}d": sum(e[2] in ACTIONS["success"] for e in within(longest)),
        "last_event_ms": last,
        "days_since_last": (as_of - last) / DAY_MS,
        "as_of": as_of,
    }


@given(
    events=st.lists(EVENT, min_size=1, max_size=40),
    as_of=st.builds(
        lambda day, off: day * DAY_MS + off, st.integers(-9, 10), st.sampled_from([0, 1])
    ),
)
def test_activity_is_what_counting_by_hand_gives(config, events, as_of):
    found = counted(config, events, as_of)
    for user in USERS:
        assert found.get(user) == by_hand(events, user, as_of)


@given(
    events=st.lists(EVENT, min_size=1, max_size=25),
    later=st.lists(EVENT, max_size=10),
    day=st.integers(-9, 9),
)
def test_no_event_at_or_after_the_moment_leaves_a_trace(config, events, later, day):
    as_of = day * DAY_MS
    future = [(*event[:3], max(event[3], as_of)) for event in later]
    assert counted(config, events + future, as_of) == counted(config, events, as_of)


def test_a_window_holds_its_first_moment_and_not_the_one_before(config):
    as_of = 10 * DAY_MS
    for back, wanted in ((DAY_MS, 1), (DAY_MS + 1, 0), (1, 1)):
        found = counted(config, [("u1", "a", "click", as_of - back)], as_of)
        assert found["u1"]["events_1d"] == wanted
    assert counted(config, [("u1", "a", "click", as_of)], as_of) == {}


def test_nobody_is_an_empty_table_with_all_columns(config):
    log = history_log(tables([("u1", "a", "click", 5)], ITEMS), config)
    empty = activity(log, config.actions, WINDOWS, 5)
    assert empty.num_rows == 0
    assert empty.column_names == [
        "user_id",
        *activity_columns(WINDOWS),
        "last_event_ms",
        "days_since_last",
        "as_of",
    ]
    assert (
        activity(history_log(tables([], ITEMS, {}), config), config.actions, WINDOWS, 5).schema
        == empty.schema
    )


def test_an_event_that_was_delivered_twice_counts_once(config):
    events = [("u1", "a", "click", 5, None, "same")] * 2
    assert event_table(events).num_rows == 2
    assert counted(config, events, 6)["u1"]["events_total"] == 1


@pytest.mark.parametrize("windows", [(), (0,), (7, 1), (1, 1), (4000,)])
def test_windows_rise_and_are_days(windows):
    with pytest.raises(ValueError, match="windows_days"):
        ActivityConfig(windows_days=windows)
