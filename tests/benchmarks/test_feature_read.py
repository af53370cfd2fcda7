"""What reading a history costs inside a request, over the bare read of the same row.

    make bench PYTEST_ARGS="-k test_feature_read"

Histories of 200 events. Inside: the predictor's `Finder`, its thread, its deadline, decoding. Bare:
an `HMGET` of the same key and fields by redis-py, or the `SELECT` of the same lines of SQLite,
without decoding. In turns, in one process. Nothing about time is asserted.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_world import HISTORY, PROJECT, World, world

USERS, ROUNDS = 500, 4
FIELDS = ["item_ids", "actions", "times", "values", "as_of"]


def bare_read(made: World, stack: contextlib.ExitStack) -> Callable[[str], Any]:
    if made.redis is not None:
        from feature_repo.stores.redis_layout import Fields, Keys

        client, fields = made.redis.client(), Fields("user_sequence")
        keys = Keys(PROJECT, "user_id")
        names = [fields.ts, *map(fields.feature, FIELDS)]
        return lambda user: client.hmget(keys.of(user), names)
    from feature_repo.locations import online_db
    from feature_repo.wire import encode_key

    opened = stack.enter_context(contextlib.closing(sqlite3.connect(online_db(made.config.paths))))
    marks = ",".join("?" * len(FIELDS))
    statement = (
        f"SELECT feature_name, value FROM {PROJECT}_user_sequence WHERE entity_key IN (?) "
        f"AND feature_name IN ({marks})"
    )
    return lambda user: opened.execute(statement, (encode_key("user_id", user), *FIELDS)).fetchall()


@pytest.mark.benchmark
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [pytest.param("redis", marks=pytest.mark.needs_redis), "sqlite"])
def test_feature_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.ask import Ask
    from serving.finding import Finder
    from serving.history import StoreHistories

    took: dict[str, list[float]] = {"bare": [], "reader": [], "inside the request": []}

    async def measure(made: World, stack: contextlib.ExitStack) -> None:
        bare = bare_read(made, stack)
        reader = StoreHistories(made.config.paths, PROJECT)
        finder = Finder(reader, 5.0)
        for turn in range(ROUNDS + 1):
            for row in range(USERS):
                user = f"u{row}"
                began = time.perf_counter()
                assert bare(user)
                direct = time.perf_counter()
                reader.read(user)
                read = time.perf_counter()
                found = await finder.found(Ask(user_id=user))
                ended = time.perf_counter()
                assert len(found.events.items) == HISTORY
                if turn:  # the first turn opens connections and fills caches
                    took["bare"].append(direct - began)
                    took["reader"].append(read - direct)
                    took["inside the request"].append(ended - read)

    with (
        world(tmp_path, monkeypatch, redis=kind == "redis", users=USERS) as made,
        contextlib.ExitStack() as stack,
    ):
        asyncio.run(measure(made, stack))
    base = float(np.median(took["bare"])) * 1e3
    count = len(took["bare"])
    print(f"\n\n### A history of {HISTORY} events from {kind}, {count} reads\n")
    print("| way | p50 ms | p99 ms | p50 over the bare read, ms |\n|---|---:|---:|---:|")
    for name, each in took.items():
        p50, p99 = np.percentile(each, [50, 99]) * 1e3
        print(f"| {name} | {p50:.3f} | {p99:.3f} | {p50 - base:+.3f} |")
