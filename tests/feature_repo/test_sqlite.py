"""The online store lets readers in while it is written, and what SQLite says becomes advice."""

from __future__ import annotations

import sqlite3

import pytest
from tables_by_hand import tables

from feature_repo.locations import online_db
from feature_repo.online import OnlineFeatures
from feature_repo.sqlite import explained, prepare
from feature_repo.store import publish


@pytest.fixture
def published(config):
    publish(config, tables([("u1", "a", "click", 1), ("u2", "a", "click", 2)]), 5, "live")
    return config


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
