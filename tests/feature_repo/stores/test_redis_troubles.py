"""Redis that is down, hangs, is full, is a replica or was emptied: said clearly, and mended."""

from __future__ import annotations

import logging
import time

import pytest
import redis_server as redis_program
from user_rows import KEY, VIEW, appending, at, batch, items

from feature_repo.stores.redis import RedisStore
from feature_repo.stores.redis_client import StoreDownError
from recommender.errors import FeatureError

pytestmark = pytest.mark.needs_redis


@pytest.fixture
def server():
    """One of its own: it is stopped, filled and reconfigured."""
    if not redis_program.program():
        pytest.skip("no redis-server program; install Debian's package redis-server")
    with redis_program.running() as running:
        yield running


@pytest.fixture
def store(server):
    opened = RedisStore(server.connection, "shop", wait_s=0.3)
    yield opened
    opened.close()


def test_a_server_that_comes_back_is_found_again_and_an_emptied_one_is_not_taken_for_no_users(
    server, store
):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    server.stop()
    for attempt in (
        lambda: items(store, "a"),
        lambda: store.write(VIEW, KEY, [batch({"a": ["y"]}, 2, 2)]),
        lambda: store.update(VIEW, KEY, {"a": appending("y", 2)}),
        lambda: store.retain(VIEW, KEY, at(1)),
    ):
        with pytest.raises(
            StoreDownError, match=f"127.0.0.1:{server.port} does not answer"
        ) as told:
            attempt()
        assert told.value.passing
    server.start()
    with pytest.raises(FeatureError, match="doesn't know the view user_sequence of shop"):
        items(store, "a")
    store.write(VIEW, KEY, [batch({"a": ["y"]}, 2, 2)])
    assert items(store, "a", "b") == [["y"], None]


def test_a_server_that_hangs_costs_no_more_than_the_wait(server, store):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    server.suspend()
    try:
        started = time.monotonic()
        with pytest.raises(StoreDownError, match="does not answer"):
            items(store, "a")
        assert 0.2 < time.monotonic() - started < 3
    finally:
        server.resume()
    # The late answer is not taken for that of the next question.
    assert items(store, "b", "a") == [None, ["x"]]


def test_a_full_server_keeps_every_row_whole_and_a_second_write_finishes(server, store):
    many = {f"u{n:05}": [f"{n}"] * 40 for n in range(4_000)}
    store.write(VIEW, KEY, [batch(many, 1, 1)])
    used = server.client().info("memory")["used_memory"]
    server.client().config_set("maxmemory", used + 400_000)
    newer = {user: ["longer " * 20, *held] for user, held in many.items()}
    with pytest.raises(FeatureError, match="OOM") as told:
        store.write(VIEW, KEY, [batch(newer, 2, 2)])
    assert "maxmemory" in told.value.hint
    held = store.rows(VIEW, KEY, list(many))
    for (user, old), row in zip(many.items(), held, strict=True):
        assert (row["item_ids"], row["times"]) in ((old, [1]), (newer[user], [2]))
    assert {row["as_of"] for row in held} == {1, 2}
    with pytest.raises(FeatureError, match="OOM"):
        store.update(VIEW, KEY, {"new": appending("x" * 1_000_000, 2)})
    server.client().config_set("maxmemory", 0)
    assert store.write(VIEW, KEY, [batch(newer, 2, 2)]).stale == 0
    assert {row["as_of"] for row in store.rows(VIEW, KEY, list(many))} == {2}


def test_a_replica_is_read_and_not_written(server, store):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    server.client().replicaof("127.0.0.1", 1)
    with pytest.raises(FeatureError, match="READONLY") as told:
        store.write(VIEW, KEY, [batch({"a": ["y"]}, 2, 2)])
    assert "primary" in told.value.hint
    assert items(store, "a") == [["x"]]


def test_a_wrong_password_is_said_and_no_password_is_ever_shown(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.client().config_set("requirepass", "open sesame")
    for password in ("", ",password=guessed-wrong"):
        with pytest.raises(FeatureError, match=r"NOAUTH|WRONGPASS") as told:
            items(RedisStore(server.connection + password, "shop"), "a")
        assert not isinstance(told.value, StoreDownError)
        assert "guessed-wrong" not in str(told.value) + caplog.text
    store = RedisStore(f"{server.connection},password=open sesame", "shop")
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    assert items(store, "a") == [["x"]]


@pytest.mark.parametrize("given", ["a:1,b:2", "password=x", "host", "host:1,frob=2"])
def test_a_connection_string_that_is_not_of_one_server_is_refused(given):
    with pytest.raises(FeatureError, match="Redis connection string"):
        RedisStore(given, "shop")


def test_a_script_that_the_server_forgot_is_told_again(server, store):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    store.update(VIEW, KEY, {"a": appending("y", 2)})
    server.client().script_flush()
    store.update(VIEW, KEY, {"a": appending("z", 3)})
    assert items(store, "a") == [["x", "y", "z"]]


def test_a_change_whose_answer_was_lost_is_not_done_twice(server, store, monkeypatch):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 1, 1)])
    store.update(VIEW, KEY, {"a": appending("y", 2)})
    import redis

    writer = store._writer
    sent, lost = writer._sent, []

    def losing(commands, count):
        answers = sent(commands, count)
        if b"HSET" in commands and not lost:
            lost.append(1)
            raise redis.ConnectionError("the answer was lost")
        return answers

    monkeypatch.setattr(writer, "_sent", losing)
    store.update(VIEW, KEY, {"a": appending("z", 3)})
    assert (lost, items(store, "a")) == ([1], [["x", "y", "z"]])
