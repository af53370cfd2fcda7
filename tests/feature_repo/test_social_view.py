"""The view of what those took whom somebody follows: published, and read by thin reader and SDK."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from tables_by_hand import configuration, follow_table, tables

from feature_repo.choices import Choices
from feature_repo.locations import online_db, project_name
from feature_repo.online import OnlineFeatures
from feature_repo.store import publish
from feature_repo.stores.sqlite import SqliteStore
from recommender.errors import ConfigError
from recommender.followed_took import FOLLOWED_TOOK
from serving.history import StoreHistories

EVENTS = [
    ("u1", "a", "purchase", 1_000),
    ("u2", "a", "purchase", 2_000),
    ("u2", "b", "purchase", 3_000),
    ("u2", "c", "purchase", 4_000),
]
EDGES = follow_table([("cold", "u1", None), ("cold", "u2", 500), ("late", "u1", 4_000)])


def test_published_rows_are_read_by_whoever_asks_for_them(make_config, read_with_sdk) -> None:
    config = make_config(source={"kind": "synthetic", "follows": 1})
    made = replace(tables(EVENTS, users={"u1": {}, "u2": {}, "cold": {"c": "DE"}}), follows=EDGES)
    published = publish(config, made, 4_000, "live")
    assert {view.view: view.rows for view in published.views}["user_social"] == 1
    project = project_name(config, "live")
    with OnlineFeatures(config.paths, project) as store:
        # Strictly before the moment of the publication: not c, and nobody for `late`.
        assert store.followed_took("cold") == {"a": 2, "b": 1}
        assert store.followed_took("late") is store.followed_took("u1") is None
        (row,) = store.rows("user_social", "user_id", ["cold"])
    (by_sdk,) = read_with_sdk(config, project, "user_social", "user_id", ["cold"])
    assert by_sdk == row
    histories = StoreHistories(config.paths, project)
    assert histories.profile("cold") == {"c": "DE"}
    histories.follows = True
    known = histories.profile("cold")
    assert (known["c"], json.loads(known[FOLLOWED_TOOK])) == ("DE", {"a": 2, "b": 1})
    assert histories.profile("u1") == {}
    assert histories.profile("nobody") is None


def test_a_store_without_the_view_answers_that_nothing_is_known_until_it_has_it(tmp_path) -> None:
    config = configuration(tmp_path)
    online_db(config.paths).parent.mkdir(parents=True)
    store = SqliteStore(online_db(config.paths), "by_hand")
    moment = pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC"))
    for view, feature, told in (
        ("user_sequence", "as_of", [1]),
        ("user_profile", "attributes", ['{"c": "DE"}']),
        ("user_social", "followed", ['{"took": {"a": 1}, "users": ["p"]}']),
    ):
        if view == "user_social":
            reader = StoreHistories(config.paths, "by_hand")
            reader.follows = True
            assert reader.profile("u1") == {"c": "DE"}
        row = pa.record_batch({"user_id": ["u1"], feature: told, "event_timestamp": moment})
        store.write(view, "user_id", [row])
    assert reader.profile("u1") == {"c": "DE", FOLLOWED_TOOK: '{"a": 1}'}


def test_the_feast_program_is_told_of_the_view_by_the_environment(tmp_path) -> None:
    config = configuration(tmp_path, source={"kind": "synthetic", "follows": 1})
    variables = Choices.of(config).variables()
    assert variables["OSTINATO_USER_SOCIAL"] == "1"
    assert Choices.read(variables) == Choices.of(config)
    assert not Choices.of(configuration(tmp_path)).social
    with pytest.raises(ConfigError, match="OSTINATO_USER_SOCIAL 0 or 1"):
        Choices.read({"OSTINATO_USER_SOCIAL": "yes"})
