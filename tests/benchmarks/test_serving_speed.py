"""The endpoint under load, beside the bare model call and beside KServe without batching.

    make bench PYTEST_ARGS="-k test_serving_speed"

20,000 items, about 2 M parameters, histories of 200 events in a real Redis, real KServe processes,
everything on this machine's cores (the load generator, too). Both servers are asked in turns, in
one run. Nobody is asked about twice, so that nothing is kept from before, except where the table
says "again". Nothing about time is asserted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import raw_http
import redis_server as redis_program
from tables_by_hand import configuration

ITEMS, WIDTH, HISTORY = 20_000, 96, 200
USERS = int(os.environ.get("OSTINATO_BENCH_USERS", 1_500))
ONE = 150
START = 1_700_000_000_000
NOW = START + 400 * 86_400_000
PATH = "/v1/models/ostinato:predict"


def made_model(config):
    import torch

    from recommender.artifact import Model
    from recommender.config.model import ModelConfig
    from recommender.features.sequences import Catalogue
    from recommender.model.scorer import TransformerScorer
    from recommender.model.transformer import UnifiedTransformer

    torch.manual_seed(0)
    module = UnifiedTransformer(
        ModelConfig(width=WIDTH, heads=2, layers=2, history=HISTORY),
        len(config.actions.types),
        torch.randn(ITEMS, 128),
        torch.ones(ITEMS, dtype=torch.bool),
        torch.randn(ITEMS, 4),
        repeats=True,
    )
    ids = tuple(f"i{row:05d}" for row in range(ITEMS))
    scorer = TransformerScorer(module, Catalogue(ids))
    count = sum(each.numel() for each in module.parameters())
    return Model(scorer, tuple(f"Thing {i}" for i in ids), config.actions, HISTORY), count


def rows() -> pa.Table:
    rng = np.random.default_rng(5)
    names = np.array([f"i{row:05d}" for row in range(ITEMS)])
    times = START + np.sort(rng.integers(0, 399 * 86_400_000, (USERS, HISTORY)), axis=1)
    stamp = pa.array([NOW] * USERS).cast(pa.timestamp("ms", tz="UTC"))
    return pa.table(
        {
            "user_id": [f"u{row}" for row in range(USERS)],
            "item_ids": names[rng.integers(0, ITEMS, (USERS, HISTORY))].tolist(),
            "actions": np.array(["view", "purchase"])[
                (rng.random((USERS, HISTORY)) < 0.1).astype(int)
            ].tolist(),
            "times": times.tolist(),
            "values": np.full((USERS, HISTORY), np.nan).astype(np.float32).tolist(),
            "event_ids": [[f"e{place}" for place in range(HISTORY)]] * USERS,
            "as_of": [NOW] * USERS,
            "event_timestamp": stamp,
            "created": stamp,
        }
    )


def told(name: str, took: list[float], seconds: float) -> str:
    milliseconds = np.array(took) * 1000
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return f"| {name} | {p50:.2f} | {p99:.2f} | {p99 / p50:.1f} | {len(took) / seconds:.0f} |"


@pytest.mark.benchmark
@pytest.mark.needs_redis
@pytest.mark.timeout(900)
def test_serving_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_repo.sdk import apply, open_store
    from feature_repo.stores import open_online
    from recommender.artifact import Model
    from recommender.config.compute import ComputeConfig
    from recommender.export import onnx_files
    from recommender.export.engines import engine_for
    from recommender.ranking import rank
    from recommender.registry import Decision, Lineage, Registry, Status
    from recommender.split import Fold
    from serving import processes
    from serving.ask import Ask
    from serving.processes import Command
    from serving.ranking import Found, Ranker

    config = configuration(
        tmp_path / "workspace",
        actions={"types": ["view", "purchase"], "history": ["view", "purchase"]},
    )
    paths = config.paths
    model, parameters = made_model(config)
    made = tmp_path / "made"
    model.save(made)
    engines = ["eager"]
    if os.environ.get("OSTINATO_BENCH_ONNX", "1") == "1":
        onnx_files.write(model.scorer.module, made)
        engines.append("onnx")
    lineage = Lineage("r", "d-1", config.fingerprint(), {}, "s", (Fold(START, NOW, NOW + 1),))
    registry = Registry.of(paths)
    version = registry.register(made, lineage, Decision("r", Status.PASSED))
    folder = registry.fetch(version)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis_program.running())
        monkeypatch.setenv("OSTINATO_PROFILE", "production")
        monkeypatch.setenv("OSTINATO_REDIS", server.connection)
        monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
        monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        apply(open_store(paths, "by_hand"), paths)
        table = rows()
        with contextlib.closing(open_online(paths, "by_hand")) as store:
            store.write("user_sequence", "user_id", table.to_batches(max_chunksize=500))

        stack.callback(processes.stop_all, paths)
        urls = {}
        for name in ["per request", *engines]:
            module = "eager_server" if name == "per request" else "serving.server"
            limits = ComputeConfig(engine="eager" if name == "per request" else name)
            arguments = [
                *("--model", str(folder), "--version", version),
                *("--workspace", str(paths.root), "--project", "by_hand"),
                *("--compute", limits.model_dump_json(), "--refresh-s", "3600"),
            ]
            monkeypatch.setenv(
                "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path])
            )
            ready = "/v2/models/ostinato/ready"
            command = Command(name.replace(" ", "-"), "model", module, arguments, ready)
            urls[name] = processes.start(paths, command, host="127.0.0.1", timeout_s=120).url

        loaded = Model.load(folder)
        ranker = Ranker(loaded)
        asks = [Ask(user_id=f"u{row}", k=10, time=NOW) for row in range(USERS)]
        columns = [table[c].to_pylist() for c in ("item_ids", "actions", "times", "values")]
        from serving.ask import Events

        found = [Found(Events(*(column[row] for column in columns))) for row in range(ONE)]
        _, histories = ranker.read(asks[:ONE], found)
        rows_of = {
            name: engine_for(loaded.scorer, folder, ComputeConfig(engine=name)) for name in engines
        }
        bare: dict[str, list[float]] = {"module": [], **{name: [] for name in engines}}
        bodies = [
            {"instances": [json.loads(ask.model_dump_json(include={"user_id", "k", "time"}))]}
            for ask in asks
        ]
        single: dict[str, list[float]] = {name: [] for name in urls}

        async def one_by_one() -> None:
            for row in range(ONE):
                history = histories.slice(row, row + 1)
                for name, scorer in {"module": loaded.scorer, **rows_of}.items():
                    started = time.perf_counter()
                    ranked = rank(scorer, history, 10, reads=HISTORY, exclude_seen=False)
                    scorer.action_probabilities(history, ranked.items)
                    bare[name].append(time.perf_counter() - started)
                for name, url in urls.items():
                    took, _ = await raw_http.ask_all(url, PATH, [bodies[row]], 1)
                    single[name] += took

        asyncio.run(one_by_one())
        rest, lines = bodies[ONE:], []
        for part in np.array_split(np.arange(len(rest)), 4):
            for name, url in urls.items():
                took, seconds = asyncio.run(
                    raw_http.ask_all(url, PATH, [rest[row] for row in part], 16)
                )
                lines.append((name, took, seconds))
        for name, url in urls.items():
            took, seconds = asyncio.run(raw_http.ask_all(url, PATH, rest[:400], 16))
            lines.append((f"{name}, again", took, seconds))

        size = f"{ITEMS:,} items, {parameters / 1e6:.1f} M parameters, {HISTORY} events"
        print(f"\n\n### Serving: {size}")
        print("\n| one at a time | p50 ms | ÷ the bare call of the module |\n|---|---:|---:|")
        base = statistics.median(bare["module"])
        for name, each in [*((f"bare: {n}", e) for n, e in bare.items()), *single.items()]:
            middle = statistics.median(each)
            print(f"| {name} | {middle * 1000:.2f} | {middle / base:.2f} |")
        print("\n| 16 at a time | p50 ms | p99 ms | p99 ÷ p50 | requests/s |")
        print("|---|---:|---:|---:|---:|")
        for name in dict.fromkeys(line[0] for line in lines):
            mine = [line for line in lines if line[0] == name]
            took = [one for _, part, _ in mine for one in part]
            print(told(name, took, sum(seconds for _, _, seconds in mine)))

        reads = asyncio.run(_reads(paths, server, [f"u{row}" for row in range(USERS)]))
        print("\n| one history of 200 events | p50 ms | p99 ms |\n|---|---:|---:|")
        for name, each in reads.items():
            p50, p99 = np.percentile(each, [50, 99]) * 1e3
            print(f"| {name} | {p50:.3f} | {p99:.3f} |")


async def _reads(paths, server, users: list[str]) -> dict[str, list[float]]:
    """Read as a request does, and the same row directly, in turns."""
    from feature_repo.stores.redis_layout import Fields, Keys
    from serving.ask import Ask
    from serving.finding import Finder
    from serving.history import StoreHistories

    client, fields, keys = server.client(), Fields("user_sequence"), Keys("by_hand", "user_id")
    names = [fields.ts, *map(fields.feature, ["item_ids", "actions", "times", "values", "as_of"])]
    finder = Finder(StoreHistories(paths, "by_hand"), 5.0)
    took: dict[str, list[float]] = {"direct (HMGET)": [], "inside the request": []}
    for user in users[:500]:
        started = time.perf_counter()
        client.hmget(keys.of(user), names)
        direct = time.perf_counter()
        found = await finder.found(Ask(user_id=user))
        took["inside the request"].append(time.perf_counter() - direct)
        took["direct (HMGET)"].append(direct - started)
        assert len(found.events.items) == HISTORY
    return took
