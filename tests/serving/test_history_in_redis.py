"""Histories of a production profile: Redis down, hanging, back again; nobody waits for long."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow as pa
import pytest
import redis_server as redis_program

from feature_repo.stores.redis import RedisStore
from feature_repo.stores.redis_client import StoreDownError
from recommender.errors import ConfigError, FeatureError
from recommender.workspace import Workspace
from serving.history import StoreHistories

pytestmark = pytest.mark.needs_redis


@pytest.fixture
def server(monkeypatch, tmp_path):
    if not redis_program.program():
        pytest.skip("no redis-server program; install Debian's package redis-server")
    with redis_program.running() as running:
        monkeypatch.setenv("OSTINATO_PROFILE", "production")
        monkeypatch.setenv("OSTINATO_REDIS", running.connection)
        monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
        monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        yield running


def fill(server, lists: dict | None = None) -> None:
    given = {
        "item_ids": [["a", "b"]],
        "actions": [["click", "click"]],
        "times": [[1, 2]],
        "values": pa.array([[0.5, 1.0]], pa.list_(pa.float32())),
        "as_of": [3],
        **(lists or {}),
    }
    moment = pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC"))
    row = pa.record_batch({"user_id": ["u"], **given, "event_timestamp": moment})
    RedisStore(server.connection, "shop").write("user_sequence", "user_id", [row])


def test_a_store_that_is_down_at_the_start_is_found_when_it_comes(server, tmp_path, caplog):
    server.stop()
    reader = StoreHistories(Workspace(tmp_path), "shop", wait_s=0.5)
    assert "answering without histories until it is there" in caplog.text
    with pytest.raises(StoreDownError):
        reader.read("u")
    server.start()
    with pytest.raises(FeatureError, match="has no project 'shop'"):
        reader.read("u")
    fill(server)
    assert reader.read("u").items == ("a", "b")
    assert reader.read("stranger") is None


def test_a_store_that_goes_away_in_mid_run_is_found_again(server, tmp_path):
    fill(server)
    reader = StoreHistories(Workspace(tmp_path), "shop", wait_s=0.5)
    with ThreadPoolExecutor(8) as pool:
        assert {len(each.items) for each in pool.map(reader.read, ["u"] * 100)} == {2}
        server.stop()
        failed = [pool.submit(reader.read, "u").exception() for _ in range(8)]
        assert {type(each) for each in failed} == {StoreDownError}
        server.start()
        # An emptied server is not one where nobody is known.
        with pytest.raises(FeatureError, match="doesn't know the view"):
            reader.read("u")
        fill(server)
        assert {len(each.items) for each in pool.map(reader.read, ["u"] * 100)} == {2}


def test_a_store_that_hangs_keeps_no_thread_longer_than_the_deadline(server, tmp_path):
    fill(server)
    reader = StoreHistories(Workspace(tmp_path), "shop", wait_s=0.2)
    assert reader.read("u")
    server.suspend()
    try:
        started = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            failed = [pool.submit(reader.read, "u") for _ in range(4)]
            assert {type(each.exception()) for each in failed} == {StoreDownError}
        assert time.monotonic() - started < 2
    finally:
        server.resume()
    assert reader.read("u").times == (1, 2)


def test_a_damaged_row_is_said_and_a_null_one_is_no_history(server, tmp_path):
    fill(server, {"times": [[1]]})
    reader = StoreHistories(Workspace(tmp_path), "shop")
    with pytest.raises(FeatureError, match="damaged: 2 item_ids, 2 actions, 1 times, 2 values"):
        reader.read("u")
    null = {
        name: pa.array([None], pa.list_(kind))
        for name, kind in (
            ("item_ids", pa.string()),
            ("actions", pa.string()),
            ("times", pa.int64()),
            ("values", pa.float32()),
        )
    }
    fill(server, null)
    assert reader.read("u") is None


def test_a_profile_that_is_not_whole_stops_the_server_at_once(server, tmp_path, monkeypatch):
    monkeypatch.delenv("OSTINATO_REDIS")
    with pytest.raises(ConfigError, match="OSTINATO_REDIS is not set"):
        StoreHistories(Workspace(tmp_path), "shop")


def test_a_server_process_reads_redis_without_importing_feast(server, tmp_path):
    fill(server)
    program = (
        "import sys; from pathlib import Path\n"
        "from recommender.workspace import Workspace\n"
        "from serving.history import StoreHistories\n"
        "print(StoreHistories(Workspace(Path(sys.argv[1])), 'shop').read('u').items)\n"
        "print(*(name for name in ('feast', 'torch', 'pyarrow', 'duckdb') if name in sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "('a', 'b')\n\n"
