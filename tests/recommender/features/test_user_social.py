"""What those took whom somebody follows: the store's row is what evaluation asks with."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_by_hand import configuration, follow_table, tables

from recommender.config import Config
from recommender.features.build import build_dataset
from recommender.features.expectations.rules import rules
from recommender.features.people import as_of
from recommender.features.snapshots import snapshots
from recommender.features.text import TextVectors
from recommender.features.user_social import user_social
from recommender.followed_took import FOLLOWED_TOOK
from recommender.privacy import pseudonyms
from recommender.sources.content import content_hash
from recommender.tables import Tables

ITEMS = ["a", "b", "c"]
USERS = ["u1", "u2", "ü 3", "u10"]
TEXT = TextVectors(np.zeros((3, 2), np.float32), ("",) * 3, ("",) * 3, "-", 0, 0, 3, 0.0)
EVENT = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from(["impression", "click", "purchase"]),
    st.integers(1, 9),
)
EDGE = st.tuples(
    st.sampled_from([*USERS, "cold"]), st.sampled_from(USERS), st.none() | st.integers(1, 9)
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, source={"kind": "synthetic", "follows": 1})


def told(view: pa.Table) -> dict[str, dict]:
    return {row["user_id"]: json.loads(row["followed"]) for row in view.to_pylist()}


def replayed(events: list, edges: list, moment: int) -> dict[str, dict[str, int]]:
    """What the rule says, in the plainest words."""
    found: dict[str, dict[str, int]] = {}
    for user, other in {(u, o) for u, o, since in edges if since is None or since < moment}:
        taken = {e[1] for e in events if e[0] == other and e[2] == "purchase" and e[3] < moment}
        for item in taken:
            counts = found.setdefault(user, {})
            counts[item] = counts.get(item, 0) + 1
    return found


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(EVENT, min_size=1, max_size=25), st.lists(EDGE, max_size=9), st.integers(1, 10))
def test_a_row_is_a_replay_of_what_was_known_strictly_before(
    config: Config, events: list, edges: list, moment: int
) -> None:
    made = replace(tables(events, ITEMS), follows=follow_table(edges))
    view = told(user_social(made, config, moment))
    assert {user: row["took"] for user, row in view.items()} == replayed(events, edges, moment)
    # Nothing that happened or began at the moment or later is in it.
    past = [event for event in events if event[3] < moment]
    begun = [edge for edge in edges if edge[2] is None or edge[2] < moment]
    if past:
        then = replace(tables(past, ITEMS), follows=follow_table(begun))
        assert told(user_social(then, config, moment)) == view


EVENTS = [
    ("u1", "a", "purchase", 10),
    ("u1", "b", "purchase", 20),
    ("u2", "b", "purchase", 30),
    ("u2", "c", "click", 40),
    ("u10", "a", "purchase", 90),
]
EDGES = follow_table([("cold", "u1", 5), ("cold", "u2", None), ("u10", "u2", 60)])


def shop() -> Tables:
    return replace(tables(EVENTS, ITEMS), follows=EDGES)


def test_the_store_holds_what_evaluation_asks_with(config: Config) -> None:
    names = pseudonyms(config.paths.keys)
    known = build_dataset(shop(), config, TEXT, names, "d-1")
    for moment in (1, 15, 31, 61, 100):
        view = told(user_social(shop(), config, moment))
        asked = as_of(known.log, known, config.actions, moment)
        people = dict(zip(asked.users, asked.people or [None] * len(asked.users), strict=True))
        for user in USERS:
            evaluated = (people.get(names.of(user)) or {}).get(FOLLOWED_TOOK)
            served = view[user]["took"] if user in view else None
            assert (evaluated and json.loads(evaluated)) == served


def test_a_row_names_those_it_speaks_of_by_pseudonym_only(config: Config) -> None:
    names = pseudonyms(config.paths.keys)
    view = told(user_social(shop(), config, 100))
    assert view["cold"]["took"] == {"b": 2, "a": 1}
    assert view["cold"]["users"] == sorted(names.of_all(["u1", "u2"]))
    assert told(user_social(shop(), config, 15))["cold"]["users"] == [names.of("u1")]


def test_the_view_is_there_where_the_source_has_a_graph(config: Config, tmp_path: Path) -> None:
    created = datetime(2026, 1, 2, tzinfo=UTC)
    views = snapshots(shop(), config, TEXT, 100, created).tables
    assert views["user_social"]["user_id"].to_pylist() == ["cold", "u10"]
    assert list(views)[-1] == "user_sequence"
    plain = configuration(tmp_path / "plain")
    without = snapshots(tables(EVENTS, ITEMS), plain, TEXT, 100, created).tables
    assert "user_social" not in without
    # The other views are the same with a graph and without.
    for view, table in without.items():
        assert content_hash(table) == content_hash(views[view]), view
    # Data from before the graph: the view is there, and empty.
    early = snapshots(tables(EVENTS, ITEMS), config, TEXT, 100, created).tables
    assert early["user_social"].num_rows == 0


def test_a_row_that_cannot_be_is_a_broken_promise(config: Config) -> None:
    rows = [
        {"took": {"a": 1}, "users": ["p"]},
        {"took": {"a": 2}, "users": ["p"]},
        {"took": {}, "users": ["p"]},
    ]
    view = pa.table({"user_id": ["x", "y", "z"], "followed": [json.dumps(row) for row in rows]})
    broken = {
        rule.name: rule.broken.tolist()
        for rule in rules("user_social", view, "user_id", 9, config)
        if rule.broken.any()
    }
    assert broken == {
        "each item was taken by 1 to all of those who are followed": [False, True, True]
    }
