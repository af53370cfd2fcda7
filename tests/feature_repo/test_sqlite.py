"""The online store is held to the snapshot, and what SQLite says is turned into advice."""

from __future__ import annotations

import sqlite3

import pytest
from tables_by_hand import tables

from feature_repo.locations import online_db
from feature_repo.online import OnlineFeatures
from feature_repo.sqlite import explained, prepare, retain
from feature_repo.store import publish
from recommender.errors import FeatureError


@pytest.fixture
def published(config):
    publish(config, tables([("u1", "a", "click", 1), ("u2", "a", "click", 2)]), 5, "live")
    return config


def test_a_row_that_did_not_arrive_is_an_error_and_nothing_is_removed(published):
    path = online_db(published.paths)
    kept = {"user_sequence": ("user_id", ["u1", "lost"])}
    with pytest.raises(FeatureError, match="1 of 2 rows of user_sequence did not arrive"):
        retain(path, "by_hand", kept)
    with OnlineFeatures(published.paths, "by_hand") as store:
        assert store.users() == ["u1", "u2"]


def test_whoever_is_not_named_is_removed_from_that_view_only(published):
    path = online_db(published.paths)
    assert retain(path, "by_hand", {"user_sequence": ("user_id", ["u2"])}) == {"user_sequence": 1}
    with OnlineFeatures(published.paths, "by_hand") as store:
        assert store.users() == ["u2"]
        assert store.user_attributes("u1") == {}


def test_readers_are_let_in_while_somebody_writes(published):
    writer = sqlite3.connect(online_db(published.paths))
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("DELETE FROM by_hand_user_sequence")
    with OnlineFeatures(published.paths, "by_hand") as store:
        assert store.users() == ["u1", "u2"]
    writer.rollback()
    writer.close()


def test_preparing_a_store_again_keeps_what_is_in_it(published):
    prepare(online_db(published.paths))
    with OnlineFeatures(published.paths, "by_hand") as store:
        assert store.users() == ["u1", "u2"]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("database or disk is full", "free some space"),
        ("database is locked", "another run is publishing"),
        ("attempt to write a readonly database", "permissions"),
        ("unable to open database file", "permissions"),
        ("file is not a database", "move it away and publish again"),
    ],
)
def test_every_failure_comes_with_what_to_do(tmp_path, reason, advice):
    error = explained(tmp_path / "online.db", reason)
    assert reason in error.message
    assert advice in error.hint
