"""One user's row after any delivery is the last N of what was delivered, by (time, event id)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, event_table

from recommender.config.actions import ActionsConfig
from recommender.features.rebase import arrived_since, rebase
from recommender.features.recent import EVENT_LISTS, Event, Recent, append, merge
from recommender.features.sequences import Catalogue, EventLog

ACTIONS_CONFIG = ActionsConfig.model_validate(ACTIONS)
CATALOGUE = Catalogue(("a", "b", "c"))
LIMITS = st.integers(1, 5)


@st.composite
def worlds(draw, most=12):
    """Events of one user whose ids agree about their contents; few moments, so many ties."""
    count = draw(st.integers(0, most))
    return [
        Event(
            draw(st.integers(-2, 4)),
            f"e{n:02}",
            draw(st.sampled_from(CATALOGUE.ids)),
            draw(st.sampled_from(["click", "purchase"])),
            draw(st.sampled_from([math.nan, 0.0, 1.5])),
            draw(st.integers(1, 9)),
        )
        for n in draw(st.permutations(range(count)))
    ]


def deliveries(world):
    """Any choice of a world's events, in any order, with duplicates."""
    return st.lists(st.sampled_from(world), max_size=20) if world else st.just([])


def last(events, limit):
    """What the rule says, in the plainest words."""
    return sorted({event.event_id: event for event in events}.values())[-limit:]


def told(recent):
    return [] if recent is None else recent.events()


def same(one, other):
    return repr(told(one)) == repr(other if isinstance(other, list) else told(other))


@given(st.data(), worlds(), LIMITS)
def test_any_delivery_leaves_the_last_events_by_time_and_id(data, world, limit):
    delivered = data.draw(deliveries(world))
    recent = None
    for event in delivered:
        recent = append(recent, [event], limit)
    assert same(recent, last(delivered, limit))
    assert same(recent, append(None, delivered, limit))


@given(st.data(), worlds(), LIMITS)
def test_a_delivery_that_comes_again_changes_nothing(data, world, limit):
    delivered = data.draw(deliveries(world))
    once = append(None, delivered, limit)
    again = merge(once, delivered, limit)
    assert again.recent is once
    assert again.kept == again.conflicting == 0


@given(st.data(), worlds(), LIMITS)
def test_the_order_of_two_deliveries_does_not_matter(data, world, limit):
    one, two = data.draw(deliveries(world)), data.draw(deliveries(world))
    first = append(append(None, one, limit), two, limit)
    second = append(append(None, two, limit), one, limit)
    assert same(first, second)
    assert (first and first.as_of) == (second and second.as_of) or len(first) == limit


@given(st.data(), worlds(), LIMITS)
def test_rows_of_two_writers_join_to_what_one_writer_would_have_made(data, world, limit):
    parts = [data.draw(deliveries(world)) for _ in range(3)]
    rows = [append(None, part, limit) for part in parts]
    left = append(append(rows[0], told(rows[1]), limit), told(rows[2]), limit)
    inner = append(rows[1], told(rows[2]), limit)
    right = append(rows[0], told(inner), limit)
    assert same(left, right)
    assert same(left, append(None, [event for part in parts for event in part], limit))


@given(worlds(), st.randoms(use_true_random=False), LIMITS)
def test_a_stream_in_any_order_ends_in_the_history_of_the_whole_log(world, random, limit):
    rows = [("u", e.item_id, e.action, e.time, e.value, e.event_id) for e in world]
    delivered = [*world, *world[:3]]
    random.shuffle(delivered)
    recent = append(None, delivered, limit)
    if not world:
        assert recent is None
        return
    log = EventLog.build(event_table(rows), CATALOGUE, ACTIONS_CONFIG)
    seen = log.histories(np.array([0]), np.array([recent.as_of]), limit)
    assert [CATALOGUE.ids[item] for item in seen.items] == list(recent.item_ids)
    assert [ACTIONS_CONFIG.types[code - 1] for code in seen.actions] == list(recent.actions)
    assert seen.times.tolist() == list(recent.times)
    np.testing.assert_array_equal(seen.values, np.array(recent.values, np.float32))


@given(st.data(), worlds(), LIMITS)
def test_every_event_delivered_is_counted_once(data, world, limit):
    before, delivered = data.draw(deliveries(world)), data.draw(deliveries(world))
    recent = append(None, before, limit)
    made = merge(recent, delivered, limit)
    assert made.kept + made.older + made.repeated == len(delivered)
    assert made.conflicting == 0
    known = set() if recent is None else set(recent.event_ids)
    assert made.kept == len({e.event_id for e in told(made.recent)} - known)


def test_of_two_events_with_one_id_the_first_wins_and_the_second_is_counted():
    first, second = Event(5, "e", "a", "click", 1.0), Event(9, "e", "b", "click", 1.0)
    assert merge(None, [first, second], 3)[1:] == (1, 0, 1, 1)
    made = merge(append(None, [first], 3), [second, second, first], 3)
    assert (made.recent.events(), made.repeated, made.conflicting) == ([first], 3, 2)


def test_values_that_are_not_numbers_are_the_same_value():
    event = Event(5, "e", "a", "click", math.nan)
    made = merge(append(None, [event], 3), [event._replace(value=float("nan"), arrival=7)], 3)
    assert (made.repeated, made.conflicting) == (1, 0)


def test_ties_in_time_are_ordered_by_event_id():
    events = [Event(5, name, "a", "click", 0.0) for name in ("e10", "e9", "E1", "é")]
    assert append(None, events, 3).event_ids == ["e10", "e9", "é"]


def test_a_late_event_finds_its_place_and_one_before_a_full_window_leaves_no_trace():
    events = [Event(time, f"e{time}", "a", "click", 0.0, 1) for time in (10, 30, 40)]
    recent = append(None, events, 3)
    late = merge(recent, [Event(20, "e20", "b", "click", 0.0, 99)], 3)
    assert late.recent.times == [20, 30, 40]
    assert (late.kept, late.recent.as_of) == (1, 99)
    older = merge(late.recent, [Event(5, "e5", "b", "click", 0.0, 100)], 3)
    assert older.recent is late.recent
    assert older.older == 1


def test_the_row_is_true_as_of_the_last_thing_that_reached_it():
    recent = append(None, [Event(10, "a", "a", "click", 0.0, 7)], 3)
    assert recent.as_of == 11
    recent = append(recent, [Event(9, "b", "a", "click", 0.0, 50)], 3)
    assert recent.as_of == 50
    assert recent.row()["event_timestamp"] == datetime.fromtimestamp(0.05, UTC)


def test_a_longer_row_than_the_limit_is_cut_by_the_next_event():
    recent = append(None, [Event(n, f"e{n}", "a", "click", 0.0) for n in range(6)], 10)
    assert append(recent, [Event(0, "late", "a", "click", 0.0)], 3).times == [3, 4, 5]


@given(worlds(), LIMITS)
def test_a_row_survives_being_stored(world, limit):
    recent = append(None, world, limit)
    if recent is not None:
        assert same(Recent.from_row(recent.row()), recent)
        assert Recent.from_row(recent.row()).as_of == recent.as_of


def test_a_row_from_before_streams_is_read_in_its_order():
    row = {"item_ids": ["a"] * 12, "actions": ["click"] * 12, "times": [5] * 12, "as_of": None}
    recent = Recent.from_row({**row, "values": [float(n) for n in range(12)], "event_ids": None})
    assert recent.values == [float(n) for n in range(12)]
    assert len(set(recent.event_ids)) == 12
    assert (set(recent.arrivals), recent.as_of) == ({0}, 6)


def test_a_stored_row_that_lost_its_order_is_sorted():
    recent = append(None, [Event(n, f"e{n}", "a", "click", 0.0, 1) for n in range(3)], 3)
    row = {name: list(reversed(recent.row()[name])) for name in EVENT_LISTS}
    assert same(Recent.from_row(row), recent)


@pytest.mark.parametrize("name", ["item_ids", "actions", "times", "values"])
@pytest.mark.parametrize("wrong", [None, [], [None, None], ["x"] * 3])
def test_a_damaged_row_is_said(name, wrong):
    row = append(None, [Event(1, "e1", "a", "click", 0.0), Event(2, "e2", "a", "click", 0.0)], 3)
    with pytest.raises(ValueError, match=r"null or of another length"):
        Recent.from_row({**row.row(), name: wrong})


def batch_row(events, limit, watermark, as_of=None):
    """The row that a batch build makes of the events that had arrived when it began to read."""
    read = [event._replace(arrival=0) for event in events if event.arrival < watermark]
    recent = append(None, read, limit)
    return None if recent is None else {**recent.row(), "created": watermark}


def ids(row):
    return [] if row is None else row["event_ids"]


@given(st.data(), worlds(), LIMITS, st.integers(0, 10))
def test_a_publication_loses_nothing_that_arrived_after_its_watermark(
    data, world, limit, watermark
):
    stored = append(None, data.draw(st.permutations(world)), limit)
    snapshot = batch_row(world, limit, watermark)
    if snapshot is None:
        row = arrived_since(stored.row(), watermark, limit) if stored else None
    else:
        row = rebase(snapshot, stored.row(), limit)
    wanted = last(world, limit)
    assert ids(row) == [event.event_id for event in wanted]


@given(st.data(), worlds(), LIMITS)
def test_publications_in_any_order_while_the_stream_goes_on_end_in_the_same_events(
    data, world, limit
):
    steps = data.draw(
        st.permutations([*world, *data.draw(st.lists(st.integers(0, 10), max_size=4))])
    )
    row = None
    for step in steps:
        if isinstance(step, Event):
            row = append(Recent.from_row(row) if row else None, [step], limit).row()
            continue
        # A snapshot of what had arrived before the watermark; it may be published at any later
        # moment, also after a newer one.
        snapshot = batch_row(world, limit, step)
        if snapshot is None:
            row = row and arrived_since(row, step, limit)
        else:
            row = rebase(snapshot, row, limit) if row else snapshot
    assert ids(row) == [event.event_id for event in last(world, limit)]


def test_a_publication_forgets_what_the_batch_no_longer_holds():
    events = [Event(n, f"e{n}", "a", "click", 0.0, 10 + n) for n in range(5)]
    stored = append(None, events, 5)
    snapshot = batch_row([events[0], events[2]], 5, 13)
    row = rebase(snapshot, stored.row(), 5)
    # e1 had arrived before the reading began and isn't in the batch; e3 and e4 came since.
    assert row["event_ids"] == ["e0", "e2", "e3", "e4"]
    assert row["arrivals"] == [10, 12, 13, 14]
    assert (row["created"], row["as_of"]) == (13, 14)


def test_an_older_snapshot_that_is_published_later_keeps_what_it_could_not_know():
    old, new = Event(1, "old", "a", "click", 0.0, 5), Event(2, "new", "b", "click", 0.0, 20)
    stored = append(None, [old, new], 5).row()
    newer = rebase(batch_row([old, new], 5, 30), stored, 5)
    assert newer["event_ids"] == ["old", "new"]
    older = rebase(batch_row([old], 5, 10), newer, 5)
    assert older["event_ids"] == ["old", "new"]


def test_clocks_that_differ_a_little_lose_nothing():
    event = Event(1, "e", "a", "click", 0.0, 95)
    snapshot = batch_row([Event(0, "b", "a", "click", 0.0, 1)], 5, 100)
    stored = append(None, [event], 5).row()
    assert rebase(snapshot, stored, 5)["event_ids"] == ["b"]
    assert rebase(snapshot, stored, 5, skew_ms=5)["event_ids"] == ["b", "e"]
    assert arrived_since(stored, 100, 5) is None
    assert arrived_since(stored, 100, 5, skew_ms=5)["event_ids"] == ["e"]


def test_the_watermark_may_be_a_moment():
    snapshot = batch_row([Event(0, "b", "a", "click", 0.0, 1)], 5, 2_000)
    snapshot["created"] = datetime.fromtimestamp(2, UTC)
    stored = append(None, [Event(1, f"e{a}", "a", "click", 0.0, a) for a in (1_999, 2_000)], 5)
    assert rebase(snapshot, stored.row(), 5)["event_ids"] == ["b", "e2000"]


def test_a_damaged_stored_row_gives_way_to_the_snapshot():
    snapshot = batch_row([Event(0, "b", "a", "click", 0.0, 1)], 5, 100)
    assert rebase(snapshot, {"item_ids": None, "times": [1]}, 5)["event_ids"] == ["b"]


@given(worlds(), LIMITS)
def test_rows_stay_in_order(world, limit):
    events = told(append(None, world, limit))
    assert all(a[:2] < b[:2] for a, b in pairwise(events))
