"""Time, memory and disk of building and materializing everybody's sequence, by size of the log.

    OSTINATO_EVENTS=1e6,1e7,1e8 OSTINATO_STORE=sqlite make bench PYTEST_ARGS="-k hundred_million"

Sizes are events, separated by commas (default: one million); the store is `sqlite` (default),
`redis` (a server started here) or `none` (build the snapshot only). Generated events lie in Parquet
before the clock starts. The work runs in a process of its own; its peak memory is sampled every
50 ms, together with its children and the Redis server. Nothing is asserted but the rows: the
machine decides. OSTINATO_SCRATCH names a folder with room: some 200 bytes an event for SQLite.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
SIZES = [int(float(size)) for size in os.environ.get("OSTINATO_EVENTS", "1e6").split(",")]
STORE = os.environ.get("OSTINATO_STORE", "sqlite")


@pytest.mark.benchmark
def test_hundred_million() -> None:
    print(
        f"\n\n### Build and materialize sequences, store: {STORE}\n\n"
        "| events | users | build s | bring online s | CPU s (of it Redis) | peak memory GB "
        "(of it Redis) | snapshot GB | store GB |\n|---:|---:|---:|---:|---:|---:|---:|---:|",
        flush=True,
    )
    for size in SIZES:
        print(measured(size), flush=True)


def measured(events: int) -> str:
    """Run one size; return a row of the table."""
    from event_files import catalogue, write_log

    with ExitStack() as stack:
        scratch = os.environ.get("OSTINATO_SCRATCH")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        as_of = write_log(events, folder / "events.parquet")
        pq.write_table(catalogue(), folder / "items.parquet")
        environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
        redis = None
        if STORE == "redis":
            redis = started_redis(folder, environment, stack)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told, peak, of_redis = run(folder, as_of, environment, redis)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        server = sum(redis.cpu_times()[:2]) if redis else 0.0
        if redis:
            stored = redis.memory_info().rss
        else:
            stored = sum(path.stat().st_size for path in folder.rglob("online.db*"))
        snapshot = sum(path.stat().st_size for path in folder.rglob("user_sequence.parquet"))
        assert told["written"] == (told["users"] if STORE != "none" else 0)
        assert 0 < told["users"] <= events // 50 + 1
        return (
            f"| {events:,} | {told['users']:,} | {told['build_s']:.1f} | {told['online_s']:.1f} "
            f"| {cpu + server:.1f} ({server:.1f}) | {peak / 2**30:.2f} ({of_redis / 2**30:.2f}) "
            f"| {snapshot / 2**30:.2f} | {stored / 2**30:.2f} |"
        )


def started_redis(folder: Path, environment: dict[str, str], stack: ExitStack) -> psutil.Process:
    sys.path.insert(0, str(ROOT / "tests" / "feature_repo"))
    from redis_server import RedisServer

    server = RedisServer(folder)
    server.start()
    stack.callback(server.stop)
    registry = f"sqlite:///{folder}/registry.db"
    environment |= {
        "OSTINATO_PROFILE": "production",
        "OSTINATO_REDIS": server.connection,
        "OSTINATO_REGISTRY": registry,
        "OSTINATO_OFFLINE": str(folder / "offline"),
    }
    assert server.process is not None
    return psutil.Process(server.process.pid)


def run(
    folder: Path, as_of: int, environment: dict[str, str], redis: psutil.Process | None
) -> tuple[dict[str, Any], int, int]:
    """Run the work; return what it told, and the most memory of all processes and of Redis."""
    words = [sys.executable, __file__, str(folder), str(as_of), STORE]
    environment["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    worker = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    most = [0, 0]

    def watch() -> None:
        ours = psutil.Process(worker.pid)
        while worker.poll() is None:
            total = 0
            for each in (ours, *_children(ours)):
                try:
                    total += each.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            server = redis.memory_info().rss if redis else 0
            most[:] = max(most[0], total + server), max(most[1], server)
            time.sleep(0.05)

    watching = threading.Thread(target=watch)
    watching.start()
    out, _ = worker.communicate()
    watching.join()
    assert worker.returncode == 0, out
    return json.loads(out.splitlines()[-1]), most[0], most[1]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def work(folder: Path, as_of: int, store: str) -> None:
    """Publish the log of a folder, in the process that is measured."""
    import pyarrow as pa
    from tables_by_hand import configuration

    # One core: figures of several threads would depend on who else is at work.
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    items = pq.read_table(folder / "items.parquet")
    config = configuration(folder / "workspace", actions={"types": ["view", "purchase"]})
    events = folder / "events.parquet"
    if store == "none":
        built = snapshot_only(config, events, items, as_of, folder)
    else:
        from feature_repo.publish_log import publish_log

        told = publish_log(config, events, items, as_of, "live")
        built = {
            "users": told.users,
            "written": told.written.rows,
            "build_s": told.built_s,
            "online_s": told.brought_s,
        }
    print(json.dumps(built))


def snapshot_only(
    config: Any, events: Path, items: Any, as_of: int, folder: Path
) -> dict[str, Any]:
    from datetime import UTC, datetime

    from feature_repo.offline import write_snapshot_batches
    from feature_repo.publish_log import Counted
    from recommender.features.build import catalogue_order
    from recommender.features.streaming_build import Wanted, latest_sequences

    start = time.monotonic()
    wanted = Wanted.by(config, catalogue_order(items), as_of, datetime.now(UTC))
    counted = Counted()
    rows = latest_sequences(events, wanted, config.features.build)
    write_snapshot_batches(str(folder), "user_sequence", counted.passing(rows))
    return {
        "users": counted.users,
        "written": 0,
        "build_s": time.monotonic() - start,
        "online_s": 0.0,
    }


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
