"""Events land and reach the sequences, once, whoever delivers them how often."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamed_shop import KINDS, NOW, open_store

from feature_repo.freshness import Arrivals, place_of, read
from feature_repo.profile import Profile
from feature_repo.stream.apply import Applied, EventSink
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from recommender.errors import FeatureError, StorageError
from recommender.features.recent import append
from recommender.workspace import Workspace

_NUMBERS = itertools.count()


def event(name: str, user: str = "u1", time: int = NOW, kind: str = "click", **more) -> StreamEvent:
    return StreamEvent(name, user, more.pop("item", "a"), kind, time, **more)


def row(store, user="u1"):
    return store.rows("user_sequence", "user_id", [user])[0]


def ids(store, user="u1"):
    held = row(store, user)
    return [] if held is None else held["event_ids"]


def landed(sink) -> list[str]:
    return sink.landing.read().events["event_id"].to_pylist()


def test_an_event_is_in_the_sequence_and_offline(sink, store):
    sink.apply([event("e1", value=4.5), event("e2", "u2", kind="purchase", item="b")])
    held = row(store)
    assert (held["item_ids"], held["actions"], held["times"]) == (["a"], ["click"], [NOW])
    assert (held["values"], held["event_ids"]) == ([4.5], ["e1"])
    assert held["arrivals"][0] == held["as_of"] > NOW
    assert math.isnan(row(store, "u2")["values"][0])
    assert landed(sink) == ["e1", "e2"]


def test_a_redelivery_changes_nothing_online(sink, store):
    sink.apply([event("e1"), event("e2", time=NOW - 5)])
    before = row(store)
    told = sink.apply([event("e2", time=NOW - 5), event("e1"), event("e1")])
    assert (told.kept, told.repeated, told.conflicting, told.users) == (0, 3, 0, 0)
    assert repr(row(store)) == repr(before)


def test_every_event_of_a_batch_is_counted_once(sink):
    sink.apply([event(f"full{n}", "busy", NOW + n) for n in range(5)])
    told = sink.apply(
        [
            event("e1"),
            event("e1", item="other"),
            event("e1"),
            event("seen", kind="impression"),
            event("late", "busy", NOW - 9),
        ]
    )
    assert told == Applied(
        received=5, kept=1, older=1, repeated=2, aside=1, conflicting=1, users=1, newest_ms=NOW
    )


def test_events_that_make_no_history_only_land(sink, store):
    told = sink.apply([event("e1", kind="impression")])
    assert (told.aside, told.users) == (1, 0)
    assert row(store) is None
    assert landed(sink) == ["e1"]


def test_of_two_events_with_one_id_the_first_stays_in_both_places(sink, store):
    sink.apply([event("e1", item="first")])
    assert sink.apply([event("e1", item="second")]).conflicting == 1
    assert row(store)["item_ids"] == ["first"]
    assert sink.landing.read().events["item_id"].to_pylist() == ["first"]


def test_a_person_who_asked_to_be_forgotten_leaves_no_trace(store, landing, rules):
    sink = EventSink(store, landing, rules, suppressed=lambda user: user == "gone")
    told = sink.apply([event("e1", "gone"), event("e2", "u1")])
    assert (told.received, told.suppressed, told.kept) == (2, 1, 1)
    assert row(store, "gone") is None
    assert landed(sink) == ["e2"]


def test_unknown_items_are_taken_and_counted(store, landing, rules):
    store.declare("item_attributes", "item_id", {"price": "double"})
    store.update(
        "item_attributes",
        "item_id",
        {"a": lambda _: {"price": 1.0, "event_timestamp": datetime(2020, 1, 1)}},
    )
    sink = EventSink(store, landing, rules)
    told = sink.apply([event("e1"), event("e2", item="new"), event("e3", item="new")])
    assert (told.kept, told.unknown_items) == (3, 2)
    assert row(store)["item_ids"] == ["a", "new", "new"]
    assert sink.apply([event("e4", item="new")]).unknown_items == 1


@pytest.mark.parametrize(
    "damage", [{"times": None}, {"item_ids": []}, {"actions": ["click", "click"]}]
)
def test_a_row_with_null_arrays_is_started_anew_and_counted(sink, store, damage):
    sink.apply([event("e1")])
    store.update("user_sequence", "user_id", {"u1": lambda row: {**row, **damage}})
    told = sink.apply([event("e2")])
    assert (told.kept, told.repaired) == (1, 1)
    assert ids(store) == ["e2"]
    assert landed(sink) == ["e1", "e2"]


def test_freshness_is_noted(store, landing, rules, tmp_path):
    place = place_of(Workspace(tmp_path), "shop", Profile("embedded"))
    sink = EventSink(store, landing, rules, arrivals=Arrivals(place), clock=lambda: NOW + 50)
    sink.apply([event("e1")])
    assert place.read()["stream"] == {"arrived_ms": NOW + 50, "newest_event_ms": NOW}
    assert read(place) == {}


def test_what_cannot_land_is_not_applied(store, rules, tmp_path):
    (tmp_path / "blocked").write_text("a file where a folder should be")
    sink = EventSink(store, Landing(str(tmp_path / "blocked")), rules)
    with pytest.raises(StorageError):
        sink.apply([event("e1")])
    assert row(store) is None


def test_what_cannot_be_applied_has_landed_and_is_applied_by_the_next_delivery(
    landing, rules, tmp_path
):
    store = open_store(str(tmp_path / "new.db"))
    sink = EventSink(store, landing, rules)
    with pytest.raises(FeatureError):
        sink.apply([event("e1")])
    assert landed(sink) == ["e1"]
    store.declare("user_sequence", "user_id", KINDS)
    sink.apply([event("e1")])
    assert ids(store) == landed(sink) == ["e1"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_cut_of_a_stream_into_batches_ends_in_the_same_rows(sink, store, data):
    name = f"u{next(_NUMBERS)}"  # the store is shared by all examples
    events = [event(f"{name}-{n}", name, NOW + data.draw(st.integers(-2, 2))) for n in range(8)]
    delivered = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=16))
    at = 0
    while at < len(delivered):
        size = data.draw(st.integers(1, 6))
        sink.apply(delivered[at : at + size])
        at += size
    wanted = append(None, [each.in_sequence(1) for each in delivered], 5)
    assert ids(store, name) == list(wanted.event_ids)


def test_writers_of_the_same_user_at_the_same_time_lose_nothing(store, place, landing, rules):
    rules = replace(rules, limit=200)
    sinks = [EventSink(open_store(place), landing, rules) for _ in range(3)]

    def writing(part: int) -> None:
        for n in range(30):
            sinks[part].apply(
                [event(f"{part}-{n}", "shared", NOW + n), event(f"both-{n}", "shared")]
            )

    threads = [threading.Thread(target=writing, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(ids(store, "shared")) == {f"{p}-{n}" for p in (0, 1, 2, "both") for n in range(30)}
    assert row(store, "shared")["times"] == sorted(row(store, "shared")["times"])


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[4])
from streamed_shop import NOW, open_store
from feature_repo.stream import apply as module
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules
from feature_repo.stream.event import StreamEvent

store = open_store(sys.argv[1])
where = sys.argv[3]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "before landing":
    Landing._write = die
if where == "before online":
    type(store).update = die
if where == "half online":
    seen = []
    call = module._Change.__call__
    def dying(self, row):
        seen.append(1)
        return die() if len(seen) == 4 else call(self, row)
    module._Change.__call__ = dying
sink = module.EventSink(store, Landing(sys.argv[2]), EventRules(("click",), ("click",), 5))
sink.apply([StreamEvent(f"e{n}", f"u{n % 7}", "a", "click", NOW + n) for n in range(20)])
die()  # before anything could be acknowledged
"""


@pytest.mark.parametrize(
    "where", ["before landing", "before online", "half online", "before commit"]
)
def test_a_kill_at_any_point_and_a_redelivery_end_in_the_same_state(
    sink, store, place, tmp_path, where
):
    events = [event(f"e{n}", f"u{n % 7}", NOW + n) for n in range(20)]
    here = str(Path(__file__).parent)
    arguments = [place, str(tmp_path / "offline"), where, here]
    ran = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert ran.returncode == -9
    users = {f"u{n}" for n in range(7)}
    written = {user for user in users if ids(store, user)}
    if where != "half online" or ":" not in place:  # Redis rows are written one by one
        assert written == (users if where == "before commit" else set())
    assert bool(landed(sink)) == (where != "before landing")

    sink.apply(events)
    for user in users:
        theirs = [each.in_sequence(1) for each in events if each.user_id == user]
        assert ids(store, user) == [each.event_id for each in sorted(theirs)][-5:]
    assert landed(sink) == sorted((e.event_id for e in events), key=lambda name: int(name[1:]))
