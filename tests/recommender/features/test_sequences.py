"""A history as of t holds the events strictly before t, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, event_table

from recommender.config.actions import ActionsConfig
from recommender.errors import FeatureError
from recommender.features.latest import sequences
from recommender.features.sequences import Catalogue, EventLog, Histories

ACTIONS_CONFIG = ActionsConfig.model_validate(ACTIONS)
CATALOGUE = Catalogue(("a", "b", "c", "d"))

# Few users and few moments, so that ties are the rule.
EVENT = st.tuples(
    st.sampled_from(["u1", "u2", "ü3", "u10"]),
    st.sampled_from(CATALOGUE.ids),
    st.sampled_from(ACTIONS_CONFIG.types),
    st.integers(-3, 6),
    st.one_of(st.none(), st.floats(-5, 5, width=32)),
)


@st.composite
def logs(draw, least=0):
    events = draw(st.lists(EVENT, min_size=least, max_size=25))
    ids = draw(st.permutations([f"e{n}" for n in range(len(events))]))
    return [(*event, name) for event, name in zip(events, ids, strict=True)]


def build(events) -> EventLog:
    return EventLog.build(event_table(events), CATALOGUE, ACTIONS_CONFIG)


def replayed(events, user, time, limit):
    """What the rule says, in the plainest words."""
    seen = [event for event in events if event[0] == user and event[3] < time]
    seen.sort(key=lambda event: (event[3], event[5]))
    return [event[1:5] for event in seen][-limit:]


def told(histories: Histories, row: int):
    part = slice(histories.offsets[row], histories.offsets[row + 1])
    return [
        (
            CATALOGUE.ids[item],
            ACTIONS_CONFIG.types[action - 1],
            time,
            None if np.isnan(value) else value,
        )
        for item, action, time, value in zip(
            histories.items[part].tolist(),
            histories.actions[part].tolist(),
            histories.times[part].tolist(),
            histories.values[part].tolist(),
            strict=True,
        )
    ]


@given(logs(least=1), st.data())
def test_every_history_is_what_a_replay_of_the_log_gives(events, data):
    log = build(events)
    asked = data.draw(
        st.lists(st.tuples(st.sampled_from(log.users), st.integers(-5, 9)), min_size=1, max_size=8)
    )
    limit = data.draw(st.integers(1, 6))
    rows = np.array([log.users.index(user) for user, _ in asked])
    times = np.array([time for _, time in asked])

    histories = log.histories(rows, times, limit)

    assert histories.now.tolist() == times.tolist()
    for row, (user, time) in enumerate(asked):
        assert told(histories, row) == replayed(events, user, time, limit)


@given(logs(least=1), st.integers(-4, 8))
def test_what_happens_at_or_after_the_moment_changes_no_history(events, time):
    known = [event for event in events if event[3] < time]
    log = build(events)
    everybody = np.arange(len(log.users))
    histories = log.histories(everybody, np.full(len(everybody), time), 10)
    by_user = {user: told(histories, row) for row, user in enumerate(log.users)}
    if not known:
        assert not any(by_user.values())
        return

    without = build(known)
    rows = np.arange(len(without.users))
    alone = without.histories(rows, np.full(len(rows), time), 10)

    assert {user: told(alone, row) for row, user in enumerate(without.users)} == {
        user: history for user, history in by_user.items() if history
    }


def test_events_of_one_basket_are_in_nobody_s_context_of_each_other():
    log = build([("u", "a", "click", 1), ("u", "b", "click", 5), ("u", "c", "purchase", 5)])
    histories = log.histories(np.array([0, 0]), np.array([5, 6]), 10)
    assert [item for item, *_ in told(histories, 0)] == ["a"]
    assert [item for item, *_ in told(histories, 1)] == ["a", "b", "c"]


def test_ties_are_ordered_by_event_id_whatever_the_order_of_the_rows():
    events = [("u", "c", "click", 1, None, "z"), ("u", "a", "click", 1, None, "m")]
    for order in (events, events[::-1]):
        histories = build(order).histories(np.array([0]), np.array([2]), 10)
        assert [item for item, *_ in told(histories, 0)] == ["a", "c"]


def test_the_limit_keeps_the_most_recent_events():
    log = build([("u", "abcd"[n], "click", n) for n in range(4)])
    histories = log.histories(np.array([0]), np.array([9]), 2)
    assert [item for item, *_ in told(histories, 0)] == ["c", "d"]


@given(logs(), st.sets(st.sampled_from(ACTIONS_CONFIG.types)), st.integers(-4, 8))
def test_filters_keep_the_users_and_the_order_of_what_is_left(events, types, time):
    log = build(events)
    left = log.of_types(types, ACTIONS_CONFIG).before(time)
    kept = [event for event in events if event[2] in types and event[3] < time]
    assert left.users == log.users
    assert len(left) == len(kept)
    for row, user in enumerate(log.users):
        histories = left.histories(np.array([row]), np.array([99]), 99)
        assert told(histories, 0) == replayed(kept, user, 99, 99)


def test_an_empty_log_has_no_users_and_no_events():
    log = build([])
    assert (len(log), log.users, log.offsets.tolist()) == (0, (), [0])
    assert len(log.histories(np.empty(0, np.int64), np.empty(0, np.int64), 5)) == 0


def test_an_unknown_item_is_told_by_count_and_example():
    with pytest.raises(FeatureError, match=r"2 events name items .* 'x'"):
        build([("u", "x", "click", 1), ("u", "x", "click", 2), ("u", "a", "click", 3)])


def test_an_unknown_event_type_is_told_by_count_and_example():
    with pytest.raises(FeatureError, match=r"1 events are of a type .* 'wish'"):
        build([("u", "a", "wish", 1)])


def test_moments_too_far_apart_for_one_log_are_refused_rather_than_mixed_up():
    huge = 2**61
    log = build([("u1", "a", "click", -huge), ("u2", "a", "click", huge)])
    with pytest.raises(FeatureError, match="shard it by user"):
        log.histories(np.array([0]), np.array([0]), 5)


def test_batches_cut_the_histories_and_lose_nothing():
    rows = [([n] * n, [1] * n, list(range(n))) for n in range(7)]
    histories = Histories.of(rows, now=range(7), values=[[float(n)] * n for n in range(7)])
    parts = list(histories.batches(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert [int(part.offsets[0]) for part in parts] == [0, 0, 0]
    joined = np.concatenate([part.items for part in parts])
    assert joined.tolist() == histories.items.tolist()
    assert np.concatenate([part.lengths for part in parts]).tolist() == list(range(7))
    assert np.concatenate([part.values for part in parts]).tolist() == histories.values.tolist()
    assert np.concatenate([part.now for part in parts]).tolist() == list(range(7))


@given(logs(least=1), st.integers(-4, 8), st.integers(1, 5))
def test_event_ids_go_with_their_events_where_they_are_asked_for(events, time, limit):
    log = EventLog.build(event_table(events), CATALOGUE, ACTIONS_CONFIG, event_ids=True)
    assert build(events).event_ids is None
    left = log.of_types(("click", "purchase"), ACTIONS_CONFIG)
    everybody = np.arange(len(log.users))
    histories = left.histories(everybody, np.full(len(everybody), time), limit)
    kept = [event for event in events if event[2] != "impression"]
    for row, user in enumerate(log.users):
        seen = sorted((e[3], e[5]) for e in kept if e[0] == user and e[3] < time)[-limit:]
        part = histories.slice(row, row + 1)
        assert part.event_ids.to_pylist() == [name for _, name in seen]


def test_events_without_ids_of_their_own_make_no_online_rows():
    with pytest.raises(ValueError, match="event_ids=True"):
        sequences(build([("u", "a", "click", 1)]), CATALOGUE.array, ACTIONS_CONFIG.types, 5, 3)
