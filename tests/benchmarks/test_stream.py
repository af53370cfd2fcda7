"""How long an event takes to change the online sequence, and how many a core takes per second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import load
import pandas as pd
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "feature_repo"))
import redis_server as redis_program
from tables_by_hand import configuration

from feature_repo.choices import Choices
from feature_repo.sdk import apply, open_store
from feature_repo.stores import open_online
from feature_repo.stream.event import StreamEvent, read_event
from feature_repo.stream.opening import open_sink
from recommender.features.build import catalogue_order, history_log
from recommender.features.latest import sequences, stamped

USERS, EACH = 20_000, 50
ACTIONS = {"types": ["view", "purchase"]}
NOW = load.START_MS + 100 * load.DAY_MS
BATCH, BATCHES, SINGLE, PUSHES = 256, 80, 1_000, 150


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs_redis)])
def shop(request, tmp_path) -> Iterator[tuple]:
    """20 k users × 50 events in either store, as a publication leaves them."""
    with pytest.MonkeyPatch.context() as patch:
        server = None
        if request.param == "redis":
            server = redis_program.RedisServer(tmp_path)
            server.start()
            patch.setenv("OSTINATO_PROFILE", "production")
            patch.setenv("OSTINATO_REDIS", server.connection)
            patch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
            patch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        config = configuration(tmp_path / "space", actions=ACTIONS)
        feast = open_store(config.paths, "by_hand")
        apply(feast, config.paths, Choices.of(config))
        tables = load.tables(USERS, EACH)
        items = catalogue_order(tables.items)["item_id"]
        log = history_log(tables, config, event_ids=True)
        rows = sequences(log, items, config.actions.types, NOW, config.features.history_limit)
        online = open_online(config.paths, "by_hand")
        made = stamped(rows, NOW, pd.Timestamp(NOW, unit="ms", tz="UTC").to_pydatetime())
        online.write("user_sequence", "user_id", made.to_batches(max_chunksize=10_000))
        yield request.param, config, feast, tables, server
        if server is not None:
            server.stop()


def events(tables, count: int, name: str) -> list[dict]:
    """New events of users and items as they occur in the log, as JSON has them."""
    times = tables.events.slice(0, count)
    columns = times.select(["user_id", "item_id", "event"]).to_pylist()
    return [{**row, "event_id": f"{name}{n}", "time": NOW + n} for n, row in enumerate(columns)]


@pytest.mark.benchmark
def test_events_into_sequences(shop):
    store, config, feast, tables, server = shop
    sink = open_sink(config)

    def spent() -> float:
        told = os.times()
        return told.user + told.system

    def applied(given: list[dict]) -> list[StreamEvent]:
        valid = [read_event(each, sink.rules, NOW + 10**9) for each in given]
        sink.apply(valid)
        return valid

    applied(events(tables, 500, "warm"))
    one = []
    for event in events(tables, SINGLE, "one"):
        started = time.perf_counter()
        applied([event])
        one.append((time.perf_counter() - started) * 1000)
    one.sort()

    many = events(tables, BATCH * BATCHES, "many")
    server_before = server.cpu_s() if server else 0.0
    before, started = spent(), time.perf_counter()
    for at in range(0, len(many), BATCH):
        applied(many[at : at + BATCH])
    wall, cpu = time.perf_counter() - started, spent() - before
    server_cpu = server.cpu_s() - server_before if server else 0.0

    pushed = []
    frames = [
        pd.DataFrame([each]).assign(
            time=pd.to_datetime([each["time"]], unit="ms", utc=True),
            value=None,
            surface=None,
            position=None,
            propensity=None,
        )
        for each in events(tables, PUSHES, "push")
    ]
    feast.push("user_events", frames[0])
    before = spent()
    for frame in frames[1:]:
        started = time.perf_counter()
        feast.push("user_events", frame)
        pushed.append((time.perf_counter() - started) * 1000)
    push_cpu = (spent() - before) / len(pushed) * 1000
    pushed.sort()

    landed = sink.landing.read().events.num_rows
    assert landed == 500 + SINGLE + len(many) + PUSHES
    kept = open_online(config.paths, "by_hand").rows(
        "user_sequence", "user_id", [many[-1]["user_id"]]
    )
    assert many[-1]["event_id"] in kept[0]["event_ids"]
    sink.close()
    assert isinstance(tables.events, pa.Table)
    count = len(many)
    print(
        f"\n{store}: {USERS:,} users x {EACH} events; validation, landing (fsync) and online row"
        f"\n  one event, in process   p50 {one[len(one) // 2]:.2f} ms, "
        f"p99 {one[int(len(one) * 0.99)]:.2f} ms ({SINGLE} events)"
        f"\n  micro-batches of {BATCH}    {count / wall:,.0f} events/s, "
        f"{count / cpu:,.0f} per second of this process's CPU"
        + (f" ({count / (cpu + server_cpu):,.0f} with the server's)" if server else "")
        + f"\n  one row per Feast push  p50 {pushed[len(pushed) // 2]:.2f} ms, "
        f"p99 {pushed[int(len(pushed) * 0.99)]:.2f} ms, {1000 / push_cpu:,.0f} events per second "
        f"of CPU: micro-batches take {cpu / count * 1000 / push_cpu:.3f} of that CPU"
    )
