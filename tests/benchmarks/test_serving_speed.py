"""The endpoint under load, beside the bare model call and beside KServe without batching.

    make bench PYTEST_ARGS="-k test_serving_speed"

20,000 items, about 2 M parameters, histories of 200 events in a real Redis, real KServe processes,
everything on this machine's cores (the load generator, too). Both servers are asked in turns, in
one run. Nobody is asked about twice, so that nothing is kept from before; what that changes is told
by `test_asked_again`, what reading features costs by `test_feature_read`. Nothing about time is
asserted.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import raw_http
from serving_world import HISTORY, ITEMS, NOW, PATH, USERS, world

ONE = 150


def told(name: str, took: list[float], seconds: float) -> str:
    milliseconds = np.array(took) * 1000
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return f"| {name} | {p50:.2f} | {p99:.2f} | {p99 / p50:.1f} | {len(took) / seconds:.0f} |"


@pytest.mark.benchmark
@pytest.mark.needs_redis
@pytest.mark.timeout(900)
def test_serving_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recommender.artifact import Model
    from recommender.config.compute import ComputeConfig
    from recommender.export.engines import engine_for
    from recommender.ranking import rank
    from serving.ask import Ask, Events
    from serving.ranking import Found, Ranker

    onnx = os.environ.get("OSTINATO_BENCH_ONNX", "1") == "1"
    engines = ["eager", "onnx"] if onnx else ["eager"]
    with world(tmp_path, monkeypatch, onnx=onnx) as made:
        urls = {
            "per request": made.start("per-request", "eager_server", ComputeConfig(engine="eager"))
        }
        urls |= {
            name: made.start(name, "serving.server", ComputeConfig(engine=name)) for name in engines
        }
        loaded = Model.load(made.folder)
        ranker = Ranker(loaded)
        asks = [Ask(user_id=f"u{row}", k=10, time=NOW) for row in range(USERS)]
        columns = [made.table[c].to_pylist() for c in ("item_ids", "actions", "times", "values")]
        found = [Found(Events(*(column[row] for column in columns))) for row in range(ONE)]
        _, histories = ranker.read(asks[:ONE], found)
        rows_of = {
            name: engine_for(loaded.scorer, made.folder, ComputeConfig(engine=name))
            for name in engines
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

        size = f"{ITEMS:,} items, {made.parameters / 1e6:.1f} M parameters, {HISTORY} events"
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
