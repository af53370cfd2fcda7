"""Reading one user's sequence: bare, by our thin reader, by the Feast SDK, in turns.

    make bench PYTEST_ARGS="-k test_read_sequence"

One process, one connection each; every round asks all three for the same random user, so that
whatever else the machine does falls on all of them. Bare is an `HMGET` by redis-py of the same
key and fields, or the `SELECT` of the same lines, without decoding. Also told: what importing
costs. Nothing about time is asserted.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime

import load
import pytest
import redis_server as redis_program
from tables_by_hand import configuration

from recommender.features.build import catalogue_order, history_log
from recommender.features.latest import sequences, stamped

USERS = int(os.environ.get("OSTINATO_BENCH_USERS", 20_000))
ROUNDS = 2_000
FIELDS = ["item_ids", "actions", "times", "values", "as_of"]


def import_cost(module: str) -> tuple[float, float]:
    """CPU and wall seconds of importing a module in a new interpreter, the median of five."""
    program = (
        "import time; c, w = time.process_time(), time.perf_counter();"
        f"import {module}; print(time.process_time() - c, time.perf_counter() - w)"
    )
    runs = [
        tuple(map(float, subprocess.check_output([sys.executable, "-c", program]).split()))
        for _ in range(5)
    ]
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


def in_turns(ways: dict, users: list[str]) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 100):
        user = random.choice(users)
        for name, read in ways.items():
            started = time.perf_counter()
            read(user)
            if round_ >= 100:
                took[name].append((time.perf_counter() - started) * 1000)
    return took


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [pytest.param("redis", marks=pytest.mark.needs_redis), "sqlite"])
def test_read_sequence(kind, tmp_path, monkeypatch, request):
    import contextlib

    from feature_repo.locations import online_db
    from feature_repo.online import OnlineFeatures
    from feature_repo.sdk import apply, open_store, speaking_plainly
    from feature_repo.stores import open_online
    from feature_repo.stores.redis_layout import Fields, Keys
    from feature_repo.wire import encode_key

    config = configuration(
        tmp_path / "workspace",
        actions={"types": ["view", "purchase"], "history": ["view", "purchase"]},
    )
    with contextlib.ExitStack() as stack:
        if kind == "redis":
            server = stack.enter_context(redis_program.running())
            monkeypatch.setenv("OSTINATO_PROFILE", "production")
            monkeypatch.setenv("OSTINATO_REDIS", server.connection)
            monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
            monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        made = load.tables(users=USERS)
        as_of = load.START_MS + 90 * load.DAY_MS
        items = catalogue_order(made.items)["item_id"]
        log = history_log(made, config, event_ids=True)
        table = stamped(
            sequences(log, items, config.actions.types, as_of, 50), as_of, datetime.now(UTC)
        )
        sdk = open_store(config.paths, "by_hand")
        apply(sdk, config.paths)
        with contextlib.closing(open_online(config.paths, "by_hand")) as store:
            store.write("user_sequence", "user_id", table.to_batches(max_chunksize=10_000))
        if kind == "redis":
            client, fields = server.client(), Fields("user_sequence")
            names = [fields.ts, *map(fields.feature, FIELDS)]
            keys = Keys("by_hand", "user_id")

            def bare(user):
                return client.hmget(keys.of(user), names)
        else:
            opened = sqlite3.connect(online_db(config.paths))
            marks = ",".join("?" * len(FIELDS))
            statement = (
                "SELECT feature_name, value FROM by_hand_user_sequence WHERE entity_key IN (?) "
                f"AND feature_name IN ({marks})"
            )

            def bare(user):
                return opened.execute(statement, (encode_key("user_id", user), *FIELDS)).fetchall()

        thin = stack.enter_context(OnlineFeatures(config.paths, "by_hand"))
        asked = [f"user_sequence:{name}" for name in FIELDS]

        def by_sdk(user):
            return sdk.get_online_features(
                features=asked, entity_rows=[{"user_id": user}]
            ).to_dict()

        users = table["user_id"].to_pylist()
        history, theirs = thin.user_history(users[7]), by_sdk(users[7])
        assert list(history.item_ids) == theirs["item_ids"][0]
        assert list(history.times) == theirs["times"][0]
        ways = {"bare": bare, "thin reader": thin.user_history, "Feast SDK": by_sdk}
        with speaking_plainly(config.paths):
            took = in_turns(ways, users)
    base = statistics.median(took["bare"])
    print(f"\n\n### One user's sequence of 50 from {kind}, {USERS:,} users, {ROUNDS} rounds\n")
    print("| way | p50 ms | p99 ms | p50 ÷ bare |\n|---|---:|---:|---:|")
    for name, each in took.items():
        p50, p99 = statistics.median(each), sorted(each)[int(0.99 * len(each))]
        print(f"| {name} | {p50:.3f} | {p99:.3f} | {p50 / base:.2f} |")
    if kind == "sqlite":
        return
    print("\n| import | CPU s | wall s |\n|---|---:|---:|")
    for module in ("feature_repo.online", "serving.history", "redis", "feast"):
        cpu, wall = import_cost(module)
        print(f"| {module} | {cpu:.2f} | {wall:.2f} |")
