"""Materializing users into Redis and SQLite: our engine beside Feast's own, on the same stores.

    make bench PYTEST_ARGS="-k test_materialize"

Both read the same Parquet snapshot of 100 k users × 50 events through the same DuckDB offline
store, with the same registry, into an empty store. Each runs in a process of its own, which says
its CPU time (all threads) around `store.materialize`, imports and `apply` left out; of Redis the
server's CPU time is told as well. Nothing about time is asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import load
import pyarrow as pa
import pytest
import redis_server as redis_program
from tables_by_hand import configuration

from recommender.features.build import catalogue_order, history_log
from recommender.features.latest import sequences, stamped

USERS = int(os.environ.get("OSTINATO_BENCH_USERS", load.USERS_COUNT))

CHILD = """
import json, pathlib, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from datetime import UTC, datetime
from tables_by_hand import configuration
from feature_repo import sdk

paths = configuration(pathlib.Path(sys.argv[2])).paths
store = sdk.open_store(paths, "by_hand")
if sys.argv[3] == "feast":
    # The same stores by Feast's own classes: ours write what Feast hands them our way.
    from feast import FeatureStore, RepoConfig
    online = store.config.online_store
    plain = {
        "sqlite": lambda: {"type": "sqlite", "path": online.path},
        "redis": lambda: {"type": "redis", "connection_string": online.connection_string},
    }
    store = FeatureStore(config=RepoConfig(
        project="by_hand", provider="local", entity_key_serialization_version=3,
        registry={"registry_type": "sql", "path": store.config.registry.path},
        online_store=plain[sys.argv[4]](), offline_store={"type": "duckdb"},
        batch_engine={"type": "local"},
        materialization={"pull_latest_features": True, "online_write_batch_size": 100_000},
    ))
sdk.apply(store, paths)
start, end = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
cpu, wall = time.process_time(), time.monotonic()
with sdk.speaking_plainly(paths):
    store.materialize(start, end, ["user_sequence"])
# Not `getrusage`: that counts what the parent held before the child was one of its own.
told = dict(line.split(":") for line in open("/proc/self/status"))
print("\\n" + json.dumps({
    "engine": type(store._get_provider().batch_engine).__name__,
    "store": type(store._get_provider().online_store).__name__,
    "cpu_s": time.process_time() - cpu,
    "wall_s": time.monotonic() - wall,
    "peak_mb": int(told["VmHWM"].split()[0]) / 1024,
}))
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> pa.Table:
    config = configuration(
        tmp_path_factory.mktemp("load"),
        actions={"types": ["view", "purchase"], "history": ["view", "purchase"]},
    )
    made = load.tables(users=USERS)
    log = history_log(made, config, event_ids=True)
    items = catalogue_order(made.items)["item_id"]
    as_of = load.START_MS + 90 * load.DAY_MS
    table = sequences(log, items, config.actions.types, as_of, 50)
    return stamped(table, as_of, datetime.now(UTC))


def materialized(
    how: str, kind: str, workspace: Path, snapshot: pa.Table, environment: dict
) -> dict:
    """Return what a process of its own tells of one materialization."""
    from feature_repo.offline import write_snapshot
    from feature_repo.profile import read_profile

    paths = configuration(workspace).paths
    place = read_profile(environment).offline_location(paths.features, "by_hand")
    write_snapshot(place, "user_sequence", snapshot)
    here = [str(Path(__file__).parents[1])]
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(here), str(workspace), how, kind],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [pytest.param("redis", marks=pytest.mark.needs_redis), "sqlite"])
def test_materialize(kind, snapshot, tmp_path):
    told = {}
    for how in ("feast", "ours"):
        workspace = tmp_path / how
        if kind == "sqlite":
            environment = {"OSTINATO_PROFILE": "embedded"}
            told[how] = materialized(how, kind, workspace, snapshot, environment)
            continue
        with redis_program.running() as server:
            environment = {
                "OSTINATO_PROFILE": "production",
                "OSTINATO_REDIS": server.connection,
                "OSTINATO_REGISTRY": f"sqlite:///{tmp_path}/{how}.db",
                "OSTINATO_OFFLINE": str(workspace / "offline"),
            }
            before = server.cpu_s()
            told[how] = materialized(how, kind, workspace, snapshot, environment)
            told[how]["server_s"] = server.cpu_s() - before
            assert server.client().dbsize() >= USERS
    assert told["feast"]["engine"] != told["ours"]["engine"]
    print(f"\n\n### Materialize {snapshot.num_rows:,} users into {kind}\n")
    print("| engine | CPU s | of which server | wall s | peak MB |\n|---|---:|---:|---:|---:|")
    whole = {}
    for how, each in told.items():
        server = each.get("server_s", 0.0)
        whole[how] = each["cpu_s"] + server
        print(
            f"| {how} ({each['engine']}, {each['store']}) | {whole[how]:.1f} | {server:.1f} "
            f"| {each['wall_s']:.1f} | {each['peak_mb']:.0f} |"
        )
    client = told["ours"]["cpu_s"] / told["feast"]["cpu_s"]
    print(
        f"\nours ÷ feast: {client:.3f} of the client's CPU, "
        f"{whole['ours'] / whole['feast']:.3f} with the server's\n"
    )
