"""The embedded online store as a file: read only, noticed when replaced, damage is said."""

from __future__ import annotations

import sqlite3

import pytest
from tables_by_hand import tables

from feature_repo.locations import online_db
from feature_repo.online import OnlineFeatures
from feature_repo.sqlite import connect
from feature_repo.store import publish
from recommender.errors import FeatureError


def test_the_reader_cannot_write(config):
    publish(config, tables([("u", "a", "click", 1)]), 5, "live")
    opened = connect(online_db(config.paths))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("CREATE TABLE x (y)")
    opened.close()


def test_a_store_that_was_moved_away_and_made_anew_is_noticed(config):
    publish(config, tables([("u", "a", "click", 1)]), 5, "live")
    path = online_db(config.paths)
    with OnlineFeatures(config.paths, "by_hand") as opened:
        assert opened.user_history("u").as_of_ms == 5
        for each in path.parent.glob("online.db*"):
            each.rename(each.with_name(f"old-{each.name}"))
        with pytest.raises(FeatureError, match="no feature store"):
            opened.user_history("u")
        publish(config, tables([("u", "a", "click", 1)]), 6, "live")
        assert opened.user_history("u").as_of_ms == 6


def test_no_store_is_said_with_its_place(config):
    with pytest.raises(FeatureError, match=f"no feature store at {online_db(config.paths)}"):
        OnlineFeatures(config.paths, "by_hand")


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x" * 900]
)
def test_a_damaged_store_is_said_with_what_to_do(config, content):
    path = online_db(config.paths)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(FeatureError, match="can't be used") as told:
        OnlineFeatures(config.paths, "by_hand")
    assert str(path) in told.value.message
    assert "publish again" in told.value.hint
