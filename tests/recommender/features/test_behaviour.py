"""A user's events in a sentence: what was strictly before, the latest first, coarsely."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_by_hand import configuration, item_table, tables
from tiny_encoder import tiny_encoder

from recommender.config import Config
from recommender.features.behaviour import sentences, titles, user_behaviour
from recommender.features.build import catalogue_order, history_log
from recommender.features.sequences import Histories
from recommender.tables import Tables

DAY = 86_400_000
NAMES = ("Red scarf", "Blue hat", "Green sock")
TYPES = ("impression", "click", "purchase")
NOW = 1_000 * DAY


def told(events, events_told=20) -> str:
    """Events are (item, action code, days ago)."""
    items, actions, ago = zip(*events, strict=True) if events else ((), (), ())
    times = [NOW - round(days * DAY) for days in ago]
    (said,) = sentences(Histories.of([(items, actions, times)], [NOW]), NAMES, TYPES, events_told)
    return said


def test_the_latest_comes_first_with_what_was_done_and_how_long_ago():
    said = told([(2, 2, 400), (0, 2, 20), (1, 2, 3), (0, 2, 0.5), (1, 3, 0.2), (0, 3, 0.1)])
    assert said == (
        "Today: purchase Red scarf, Blue hat; click Red scarf. This week: click Blue hat. "
        "This month: click Red scarf. Earlier: click Green sock"
    )


def test_who_did_nothing_is_told_in_no_words():
    assert told([]) == ""


def test_the_same_once_more_is_said_once():
    assert told([(0, 2, 0.3), (0, 2, 0.2), (0, 2, 0.1)]) == "Today: click Red scarf"


def test_a_long_history_is_cut_to_its_most_recent_events():
    many = [(n % 3, 2 + n % 2, 100 - n * 0.01) for n in range(1_000)]
    assert told(many, 5) == told(many[-5:], 5)
    assert told(many, 5).count("click") + told(many, 5).count("purchase") <= 5


@pytest.mark.parametrize(("days", "when"), [(0, "Today"), (0.99, "Today"), (1, "This week")])
def test_limits_belong_to_the_later_word(days, when):
    assert told([(0, 2, days)]).startswith(when)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(2, 3), st.integers(0, 500)), max_size=40),
    st.integers(1, 30),
)
def test_only_the_last_events_matter_and_every_item_told_was_among_them(events, limit):
    events = sorted(events, key=lambda event: -event[2])
    said = told(events, limit)
    assert said == told(events[-limit:], limit)
    last = {NAMES[item] for item, _, _ in events[-limit:]}
    assert {name for name in NAMES if name in said} == last


def test_an_item_is_called_by_its_title_or_else_by_what_is_said_about_it():
    items = item_table(
        [
            {"item_id": "a", "title": " Red\n scarf. "},
            {"item_id": "b", "text": "soft wool"},
            {"item_id": "c"},
            {"item_id": "d", "title": "x" * 100_000},
            {"item_id": "e", "title": "\x00\x01", "brand": "Gorse"},
            {"item_id": "f", "title": "🎁 红色的羊毛围巾"},
        ]
    )
    assert titles(items) == [
        "Red scarf",
        "soft wool",
        "something",
        "x" * 80,
        "Gorse",
        "🎁 红色的羊毛围巾",
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    root = tmp_path_factory.mktemp("behaviour")
    text = {"encoder": str(root / "tiny"), "threads": 1, "behaviour": True, "behaviour_events": 3}
    text["revision"] = tiny_encoder(root / "tiny")
    return configuration(root / "workspace", features={"text": text})


def rows(config: Config, made: Tables, as_of: int) -> pa.Table:
    items = catalogue_order(made.items)
    return user_behaviour(history_log(made, config), items, config, as_of)[0]


EVENT = st.tuples(
    st.sampled_from(["u1", "u2", "u3"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(TYPES),
    st.integers(0, 40).map(lambda n: n * DAY // 2),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENT, max_size=12), st.lists(EVENT, max_size=6), st.integers(1, 41))
def test_no_event_at_or_after_the_moment_leaves_a_trace(config, past, planted, half_days):
    as_of = half_days * DAY // 2
    past = [event for event in past if event[3] < as_of]
    future = [(*event[:3], as_of + event[3]) for event in planted]
    catalogue = [{"item_id": item, "title": f"red {item}"} for item in "abc"]
    without = rows(config, tables([("u1", "a", "click", 0), *past], catalogue), as_of)
    made = tables([("u1", "a", "click", 0), *past, *future], catalogue)
    assert rows(config, made, as_of).equals(without)


def test_the_rows_say_how_they_were_made_and_only_new_sentences_are_encoded(config):
    events = [("u1", "a", "click", 5 * DAY), ("u2", "b", "purchase", 6 * DAY)]
    events += [("u3", "a", "impression", DAY)]  # makes no history
    catalogue = [{"item_id": "a", "title": "Red scarf"}, {"item_id": "b", "title": "Wool hat"}]
    log = history_log(tables(events, catalogue), config)
    items = catalogue_order(item_table(catalogue))
    table, made = user_behaviour(log, items, config, 7 * DAY)
    assert table["user_id"].to_pylist() == ["u1", "u2"]
    assert table["sentence"].to_pylist() == [
        "This week: click Red scarf",
        "This week: purchase Wool hat",
    ]
    assert table["as_of"].to_pylist() == [7 * DAY] * 2
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert made.encoded == 2
    # A day later nobody has done anything, and in coarse words nothing has changed.
    again, made = user_behaviour(log, items, config, 8 * DAY)
    assert (made.encoded, made.cached) == (0, 2)
    assert again["vector"].equals(table["vector"])
    assert again["content_hash"].equals(table["content_hash"])


def test_sentences_have_a_cache_of_their_own_without_a_word_in_it(config):
    folder = config.paths.cache / "behaviour"
    assert list(folder.rglob("*.parquet"))
    for shard in folder.rglob("*.parquet"):
        assert b"scarf" not in shard.read_bytes()
