"""The endpoint under load where people come back: p99 against p50 with kept states.

    make bench PYTEST_ARGS="-k test_asked_again"

The world of `test_serving_speed`, one server (`eager`, which keeps states), 16 clients, requests in
a random order of a stated share of people who were asked about before. Each mix is asked in several
parts, in turns. On a shared machine a whole process stands still now and then, and in a part of 400
one such moment is the p99: so told is the median over the parts, beside all parts together, and a
row of control, the same clients asking for liveness, which computes nothing. Nobody new is asked
about twice. Nothing about time is asserted.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import raw_http
from serving_world import HISTORY, ITEMS, NOW, PATH, world

KNOWN, PART, PARTS = 400, 400, int(os.environ.get("OSTINATO_BENCH_PARTS", 5))
MIXES = {
    "everybody again": 1.0,
    "one in a hundred new": 0.99,
    "one in ten new": 0.9,
    "half new": 0.5,
    "everybody new": 0.0,
}
CONTROL, LIVE = "control: liveness", "/v2/health/live"
USERS = KNOWN + PARTS * sum(round(PART * (1 - share)) for share in MIXES.values())


def body(row: int) -> dict:
    return {"instances": [{"user_id": f"u{row}", "k": 10, "time": NOW}]}


@pytest.mark.benchmark
@pytest.mark.needs_redis
@pytest.mark.timeout(1800)
def test_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recommender.config.compute import ComputeConfig

    random = np.random.default_rng(3)
    fresh = iter(range(KNOWN, USERS))
    took: dict[str, list[list[float]]] = {name: [] for name in (*MIXES, CONTROL)}
    spent = dict.fromkeys(took, 0.0)
    with world(tmp_path, monkeypatch, users=USERS) as made:
        url = made.start("eager", "serving.server", ComputeConfig(engine="eager"))
        asyncio.run(raw_http.ask_all(url, PATH, [body(row) for row in range(KNOWN)], 16))
        for _ in range(PARTS):
            for name, share in MIXES.items():
                again = round(PART * share)
                people = [*random.integers(0, KNOWN, again).tolist()]
                people += [next(fresh) for _ in range(PART - again)]
                random.shuffle(people)
                each, seconds = asyncio.run(
                    raw_http.ask_all(url, PATH, [body(row) for row in people], 16)
                )
                took[name].append(each)
                spent[name] += seconds
            each, seconds = asyncio.run(raw_http.ask_all(url, LIVE, [{}] * PART, 16, "GET"))
            took[CONTROL].append(each)
            spent[CONTROL] += seconds
        size = f"{ITEMS:,} items, {made.parameters / 1e6:.1f} M parameters, {HISTORY} events"
    print(f"\n\n### People who come back: {size}, 16 at a time, {PARTS} parts of {PART}\n")
    print("| | p50 ms | p95 ms | p99 ms | p99 ÷ p50 | of the median part | requests/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, parts in took.items():
        p50, p95, p99 = np.percentile(np.concatenate(parts), [50, 95, 99]) * 1e3
        middle = np.median([np.divide(*np.percentile(part, [99, 50])) for part in parts])
        rate = PART * PARTS / spent[name]
        print(
            f"| {name} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {p99 / p50:.1f} | {middle:.1f} "
            f"| {rate:.0f} |"
        )
