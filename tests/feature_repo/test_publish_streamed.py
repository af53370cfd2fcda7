"""Publishing while events are streamed: nothing that arrived is lost, on both stores."""

from __future__ import annotations

from contextlib import closing

import pytest
from tables_by_hand import tables

from feature_repo.online import OnlineFeatures
from feature_repo.store import publish
from feature_repo.stores import open_online
from feature_repo.stream.apply import now_ms
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.opening import open_sink
from recommender.features import snapshots as building

ITEMS = ["a", "b", "c"]
EVENTS = [("u1", "a", "click", 1_000), ("u2", "b", "click", 2_000)]


@pytest.fixture(params=["embedded", pytest.param("production", marks=pytest.mark.needs_redis)])
def shop(request, config):
    if request.param == "production":
        request.getfixturevalue("production")
    return config


def event(user: str, item: str, name: str, time: int | None = None) -> StreamEvent:
    moment = now_ms() if time is None else time
    return StreamEvent(event_id=name, user_id=user, item_id=item, event="click", time=moment)


def sequences(config, lane="by_hand") -> dict[str, tuple[str, ...]]:
    with OnlineFeatures(config.paths, lane) as store:
        return {user: store.user_history(user).item_ids for user in store.users()}


def test_events_that_have_landed_are_part_of_the_next_publication(shop):
    publish(shop, tables(EVENTS, ITEMS), None, "live")
    open_sink(shop).apply([event("u1", "c", "s1"), event("new", "a", "s2")])
    report = publish(shop, tables(EVENTS, ITEMS), None, "live")
    assert (report.landed, report.users) == (2, 3)
    wanted = {"u1": ("a", "c"), "u2": ("b",), "new": ("a",)}
    assert sequences(shop) == wanted
    # And once the log itself holds them, they count once.
    held = [*EVENTS, ("u1", "c", "click", now_ms(), None, "s1")]
    assert publish(shop, tables(held, ITEMS), None, "live").landed == 1
    assert sequences(shop) == wanted


def test_events_that_arrive_while_a_publication_is_made_stay_on_top_of_it(shop, monkeypatch):
    publish(shop, tables(EVENTS, ITEMS), None, "live")
    sink = open_sink(shop)
    from feature_repo import store as publishing

    def late(*given):
        built = building.snapshots(*given)
        late_event = event("u2", "a", "late", time=500)
        sink.apply([event("u1", "b", "now"), late_event, event("only", "c", "streamed")])
        return built

    less = [each for each in EVENTS if each[0] != "u1"]
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "snapshots", late)
        report = publish(shop, tables([*less, ("u3", "a", "click", 7_000)], ITEMS), None, "live")
    assert report.merged == 1  # u2; u1 is no longer in the log, and "only" never was
    assert sequences(shop) == {"u1": ("b",), "u2": ("a", "b"), "u3": ("a",), "only": ("c",)}

    assert publish(shop, tables(less, ITEMS), None, "live").landed == 3
    assert sequences(shop) == {"u1": ("b",), "u2": ("a", "b"), "only": ("c",)}


def test_rows_that_only_the_stream_made_go_with_the_next_publication_if_nothing_landed(shop):
    publish(shop, tables(EVENTS, ITEMS), None, "live")
    with closing(open_online(shop.paths, "by_hand")) as store:
        held = store.rows("user_sequence", "user_id", ["u1"])[0]
        stray = {**held, "event_timestamp": building.datetime(2030, 1, 1), "arrivals": [1]}
        store.update("user_sequence", "user_id", {"stray": lambda _: stray})
    publish(shop, tables(EVENTS, ITEMS), None, "live")
    assert sorted(sequences(shop)) == ["u1", "u2"]


def test_the_rehearsal_is_what_it_is_as_of_and_nothing_else(shop):
    publish(shop, tables(EVENTS, ITEMS), None, "live")
    open_sink(shop).apply([event("u1", "c", "s1")])
    for moment, wanted in ((5_000, {"u1": ("a",), "u2": ("b",)}), (1_500, {"u1": ("a",)})):
        report = publish(shop, tables(EVENTS, ITEMS), moment, "rehearsal")
        assert (report.landed, report.merged) == (0, 0)
        assert sequences(shop, "by_hand_rehearsal") == wanted
    assert sequences(shop) == {"u1": ("a", "c"), "u2": ("b",)}


def test_who_is_no_longer_in_the_data_is_gone_from_either_store(shop):
    publish(shop, tables(EVENTS, ITEMS, {"u1": {"age": "1"}, "u2": {}}), 5_000, "live")
    report = publish(shop, tables(EVENTS[:1], ITEMS[:1], {"u1": {"age": "1"}}), 3_000, "live")
    assert report.removed == 1 + 2
    with OnlineFeatures(shop.paths, "by_hand") as store:
        assert store.users() == ["u1"]
        assert store.user_attributes("u2") is None
        assert store.user_attributes("u1") == {"age": "1"}
        assert (store.item_text("b"), store.item_attributes("c")) == (None, None)
        assert store.user_history("u1").as_of_ms == 3_000
