"""A snapshot holds what was known strictly before its moment, in every view."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, configuration, tables

from recommender.errors import FeatureError
from recommender.features.activity import DAY_MS
from recommender.features.snapshots import KEYS, VIEWS, snapshots
from recommender.features.text import TextVectors

ITEMS = [
    {"item_id": name, "categories": ["all", name], "price": price}
    for name, price in (("a", 1.0), ("b", 2.0), ("c", None))
]
USERS = {user: {"age": "42"} for user in ("u1", "u2", "new")}
CREATED = datetime(2030, 1, 1, tzinfo=UTC)

EVENT = st.tuples(
    st.sampled_from(list(USERS)),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(ACTIONS["types"]),
    st.builds(
        lambda day, off: day * DAY_MS + off,
        st.integers(20_000, 20_040),
        st.sampled_from([-1, 0, 1, 12_345_678]),
    ),
    st.one_of(st.none(), st.floats(-5, 5, width=32)),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return configuration(tmp_path_factory.mktemp("workspace"))


def taken(config, events, as_of):
    text = TextVectors(
        np.eye(3, dtype=np.float32), ("x", "y", "z"), ("#x", "#y", "#z"), "by@hand", 0, 0, 0, 0.0
    )
    made = snapshots(tables(events, ITEMS, USERS), config, text, as_of, CREATED)
    assert made.as_of == as_of
    return made.tables


def told(views):
    # repr: NaN is not equal to itself.
    return {view: repr(table.to_pylist()) for view, table in views.items()}


@given(
    past=st.lists(EVENT, min_size=1, max_size=30),
    later=st.lists(EVENT, max_size=12),
    day=st.integers(20_000, 20_040),
)
def test_no_event_at_or_after_the_moment_leaves_a_trace_in_any_view(config, past, later, day):
    as_of = day * DAY_MS + 1
    named = [(*event, f"p{n}") for n, event in enumerate(past)]
    # Ids that sort before those of the past, so that a tie would show.
    planted = [
        (*event[:3], max(event[3], as_of), event[4], f"a{n}") for n, event in enumerate(later)
    ]
    assert told(taken(config, named + planted, as_of)) == told(taken(config, named, as_of))


def test_a_later_moment_shows_in_every_view_that_events_go_into(config):
    day = 20_000 * DAY_MS
    events = [("u1", "a", "purchase", day + n * DAY_MS) for n in range(10)]
    early, late = (taken(config, events, day + days * DAY_MS) for days in (3, 9))
    changed = {view for view in early if not early[view].equals(late[view])}
    assert {"user_sequence", "user_activity", "item_trend"} <= changed
    assert early["user_activity"]["events_total"].to_pylist() == [3]
    assert late["item_trend"]["forecast"].to_pylist()[0] > 0


def test_every_row_says_of_whom_and_as_of_when_it_is(config):
    as_of = 20_001 * DAY_MS + 457
    views = taken(config, [("u1", "a", "click", as_of - 1)], as_of)
    assert set(views) == set(VIEWS) - {"user_behaviour", "user_social"}
    for view, table in views.items():
        assert table[KEYS[view]].null_count == 0
        assert set(table["created"].to_pylist()) <= {CREATED}
        moments = {moment.timestamp() * 1000 for moment in table["event_timestamp"].to_pylist()}
        assert moments <= {as_of}


def test_price_levels_come_with_the_attributes(config):
    views = taken(config, [("u1", "a", "click", 1)], 5)
    assert views["item_attributes"]["category_price"].to_pylist() == [None] * 3


def test_an_event_of_an_unknown_item_is_said(config):
    with pytest.raises(FeatureError, match=r"lacks, e\.g\. 'gone'"):
        taken(config, [("u1", "gone", "click", 1)], 5)
