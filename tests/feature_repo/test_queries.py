"""What is known of a user or an item: online and as of a moment, the same fields and truth."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from accepted_data import accept_tables
from tables_by_hand import tables

from feature_repo import queries
from feature_repo.freshness import place_of, read
from feature_repo.history_as_of import accepted_data
from feature_repo.store import publish
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.opening import open_sink
from recommender.errors import FeatureError
from recommender.features.build import history_log

START = 1_000_000_000_000
HOUR = 3_600_000
ITEMS = [
    {
        "item_id": f"i{n}",
        "title": f"{word} scarf",
        "price": 2.5 * n,
        "categories": ["clothes", "scarfs"],
        "brand": None if n == 3 else "acme",
    }
    for n, word in enumerate(("red", "blue", "green", "striped", "woollen", "silk"))
]


def log(seed=3, events=400, users=12):
    chosen = random.Random(seed)
    return [
        (
            f"u{chosen.randrange(users):02}",
            f"i{chosen.randrange(len(ITEMS))}",
            chosen.choice(["impression", "click", "purchase"]),
            # Many ties in time, so that the order by event id matters.
            START + HOUR * chosen.randrange(events // 2),
            None if n % 3 else float(n % 5),
        )
        for n in range(events)
    ]


@pytest.fixture(scope="module")
def shop(make_config):
    """Twelve users, published live from the accepted data, with features in words."""
    config = make_config(features={"text": {"threads": 1, "behaviour": True}, "history_limit": 9})
    raw = tables(log(), ITEMS, {"u00": {"age": "31", "plan": "gold"}, "quiet": {"age": "8"}})
    name = accept_tables(config, raw)
    made = accepted_data(config).tables  # as the validate step hands them on
    publish(config, made, None, "live", data_version=name)
    return config, made


def same(online, then) -> None:
    """Compare two answers field by field; NaN equals NaN."""
    for field in ("history", "activity"):
        for (name, one), (_, other) in zip(
            vars(getattr(online, field)).items(), vars(getattr(then, field)).items(), strict=True
        ):
            np.testing.assert_equal(one, other, err_msg=f"{field}.{name}")
    assert online.attributes == then.attributes
    assert online.sentence == then.sentence


def test_as_of_the_publication_the_events_tell_what_the_online_store_holds(shop):
    config, _ = shop
    for row in range(12):
        online = queries.user(config, f"u{row:02}")
        then = queries.user(config, f"u{row:02}", online.history.as_of_ms)
        same(online, then)
        assert online.answer.origin == "online"
        assert then.answer.origin == "events"
        assert online.answer.data_version == then.answer.data_version == "d-000000000001"
        assert online.sentence.startswith("Today: ") or "This week" in online.sentence


def test_as_of_any_moment_the_answer_is_the_history_strictly_before_it(shop):
    config, made = shop
    truth = history_log(made, config)
    chosen = random.Random(5)
    for _ in range(6):
        moment = START + HOUR * chosen.randrange(210)  # on the hour: many events lie exactly there
        user = chosen.randrange(12)
        expected = truth.histories(np.array([user]), np.array([moment]), 9)
        found = queries.user(config, f"u{user:02}", moment)
        if not len(expected.times):
            assert found.history is None
            assert found.activity is None
            continue
        assert list(found.history.times) == expected.times.tolist()
        assert all(time < moment for time in found.history.times)
        assert found.history.as_of_ms == found.activity.as_of_ms == moment
        assert found.activity.counts["events_total"] >= len(found.history)


def test_streamed_events_are_in_the_answer_as_they_are_online(shop):
    config, _ = shop
    sink = open_sink(config)
    latest = queries.user(config, "u01").history.as_of_ms
    events = [
        StreamEvent(f"s{n}", user, item, "click", latest + n * 1000, 1.5)
        for n, (user, item) in enumerate([("u01", "i1"), ("u01", "i-new"), ("new", "i2")])
    ]
    again = queries.user(config, "u01", latest).history
    sink.apply([*events, events[0]])  # the first one is delivered twice
    for user in ("u01", "new"):
        online = queries.user(config, user)
        then = queries.user(config, user, latest + HOUR)
        for name in ("item_ids", "actions", "times", "values"):
            np.testing.assert_equal(
                getattr(online.history, name), getattr(then.history, name), err_msg=name
            )
    assert queries.user(config, "u01").history.item_ids[-2:] == ("i1", "i-new")
    assert repr(queries.user(config, "u01", latest).history) == repr(again)
    fresh = read(place_of(config.paths, "by_hand"))
    assert fresh["user_sequence"].arrived_ms is not None
    assert fresh["user_sequence"].newest_event_ms == latest + 2000
    assert fresh["user_activity"].arrived_ms is None


def test_after_the_next_publication_both_still_agree(shop):
    config, made = shop
    publish(config, made, None, "live", data_version="d-000000000001")
    for user in ("u01", "new", "u05"):
        online = queries.user(config, user)
        # A streamed event moves the moment of the sequence, not that of the other views.
        then = queries.user(config, user, online.history.as_of_ms)
        assert repr(online.history) == repr(then.history)
        before = queries.user(config, user, online.activity.as_of_ms)
        assert (online.activity, online.sentence) == (before.activity, before.sentence)
    # The item that the catalogue lacks waits until it comes.
    assert "i-new" not in queries.user(config, "u01").history.item_ids


def test_somebody_without_events_is_known_by_attributes_alone(shop):
    config, _ = shop
    for moment in (None, START):
        found = queries.user(config, "quiet", moment)
        assert (found.history, found.activity) == (None, None)
        assert found.attributes == {"age": "8"}


def test_an_item_is_told_with_its_types(shop):
    config, _ = shop
    found = queries.item(config, "i1")
    assert found.text.title == "blue scarf"
    assert math.hypot(*found.text.vector) == pytest.approx(1, abs=1e-5)
    assert found.attributes.categories == ("clothes", "scarfs")
    assert found.attributes.price == 2.5
    assert queries.item(config, "i3").attributes.brand is None
    if found.trend is not None:
        assert found.trend.period_ms > 0
    assert queries.titles(config, ["i0", "nothing", "i1"]) == {
        "i0": "red scarf",
        "i1": "blue scarf",
    }


def test_who_is_not_known_is_said_with_the_nearest_id(shop):
    config, _ = shop
    with pytest.raises(FeatureError, match=r"the user 'u1x'\n  → did you mean 'u1\d'\?"):
        queries.user(config, "u1x")
    with pytest.raises(FeatureError, match="did you mean 'u"):
        queries.user(config, "u0x", START)
    with pytest.raises(FeatureError, match=r"the item 'zzz'\n  → one that it knows is 'i0'"):
        queries.item(config, "zzz")


def test_before_anything_was_published_or_accepted_it_says_what_to_do(make_config):
    config = make_config()
    with pytest.raises(FeatureError, match="ostinato run"):
        queries.user(config, "u")
    with pytest.raises(FeatureError, match="no data of by-hand was accepted yet"):
        queries.user(config, "u", START)
    with pytest.raises(FeatureError, match="ostinato run"):
        queries.item(config, "i")


def test_a_data_version_that_is_gone_is_said(shop, make_config):
    config, _ = shop
    import shutil

    elsewhere = make_config()
    shutil.copytree(config.paths.data, elsewhere.paths.data)
    shutil.rmtree(elsewhere.paths.data / "versions")
    with pytest.raises(Exception, match="does not exist"):
        queries.user(elsewhere, "u01", START)


def test_online_questions_load_neither_feast_nor_torch(shop):
    config, _ = shop
    code = (
        "import sys\n"
        "from recommender.config import Config\n"
        "from feature_repo import queries\n"
        "config = Config.from_json(sys.stdin.read())\n"
        "assert queries.user(config, 'u01').history\n"
        "assert queries.item(config, 'i1').text\n"
        "print(sorted({'feast', 'torch', 'ibis', 'sqlalchemy'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        input=config.to_json(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.needs_redis
def test_redis_answers_as_sqlite_does_and_keeps_the_freshness(shop, production):
    config, made = shop
    moment = START + 500 * HOUR
    publish(config, made, moment, "live", data_version="d-000000000001")
    found = queries.user(config, "u03")
    same(found, queries.user(config, "u03", moment))
    assert found.answer.data_version == "d-000000000001"
    place = place_of(config.paths, "by_hand")
    fresh = read(place)
    assert fresh["item_text"].rows == len(ITEMS)
    held = production.client().hgetall("ostinato:freshness:by_hand")
    assert {name.decode() for name in held} == fresh.keys()
    place.remove(["item_text"])
    assert "item_text" not in read(place)
    production.stop()
    try:
        with pytest.raises(FeatureError, match="does not answer"):
            read(place)
    finally:
        production.start()


def test_what_feast_materializes_is_recorded_as_what_we_publish(shop):
    from feature_repo.sdk import materialize, open_store

    config, made = shop
    published = publish(config, made, None, "live", data_version="d-000000000001")
    place = place_of(config.paths, "by_hand")
    ours = read(place)
    store = open_store(config.paths, "by_hand")
    materialize(store, config.paths, published.as_of_ms)
    theirs = read(place)
    assert theirs.keys() == ours.keys()
    for view, record in theirs.items():
        assert record.published_ms > ours[view].published_ms
        for name in ("rows", "as_of_ms", "newest_event_ms", "read_ms", "data_version"):
            assert getattr(record, name) == getattr(ours[view], name), (view, name)
    # An interval without rows makes nothing newer.
    materialize(store, config.paths, published.as_of_ms + HOUR)
    assert read(place) == theirs


def test_a_record_of_freshness_survives_other_projects(shop):
    config, _ = shop
    publish(config, shop[1], START + HOUR, "rehearsal", data_version="d-2")
    live, rehearsal = (
        read(place_of(config.paths, name)) for name in ("by_hand", "by_hand_rehearsal")
    )
    assert live["user_sequence"].data_version == "d-000000000001"
    assert rehearsal["user_sequence"].data_version == "d-2"
