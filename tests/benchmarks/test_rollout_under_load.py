"""What the router costs, and what weight changes, promotions and a shadow cost under load.

    make bench PYTEST_ARGS="-k rollout_under_load"

A real router between real HTTP servers that answer after 5 ms, 16 requests under way. In one run,
side by side: straight to the server, through the router, while the weights change and arms are
promoted, and with every request copied to a shadow. Every request of every way must be answered.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from recommender.workspace import Workspace
from serving import processes, routes
from serving.processes import Command
from serving.routes import Arm, Routes, Shadow

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

REQUESTS, UNDER_WAY = 800, 16
PATH = "/v1/models/ostinato:predict"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    paths = Workspace(tmp_path)
    yield paths
    processes.stop_all(paths)


async def ask(url: str, meanwhile: Callable[[int], None]) -> tuple[list[float], int]:
    """Send all requests; return their milliseconds, and how many were not answered by 200."""
    places, lost, taken = asyncio.Semaphore(UNDER_WAY), 0, []
    limits = httpx.Limits(max_connections=UNDER_WAY)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:

        async def one(number: int) -> None:
            nonlocal lost
            async with places:
                meanwhile(number)
                started = time.perf_counter()
                body = {"instances": [{"user_id": f"u{number % 200}", "k": 10}]}
                try:
                    lost += (await client.post(url + PATH, json=body)).status_code != 200
                except httpx.TransportError:
                    lost += 1
                taken.append(1000 * (time.perf_counter() - started))

        await asyncio.gather(*(one(number) for number in range(REQUESTS)))
    return taken, lost


@pytest.mark.benchmark
def test_changes_under_load_lose_no_request(workspace: Workspace) -> None:
    from upstreams import Upstream

    arms = [Upstream(f"m-{number}") for number in range(3)]
    for one in arms:
        one.delay_s = 0.005
    path = workspace.serving / "routes.json"
    arguments = ["--routes", str(path), "--keys", str(workspace.keys)]
    command = Command("router", "router", "serving.router", arguments, "/healthz")
    url = processes.start(workspace, command, host="127.0.0.1").url
    old, new, last = (Arm(one.url, one.version) for one in arms)
    changes = 0

    def change(number: int) -> None:
        """Every forty requests another share; every four hundred a promotion."""
        nonlocal changes
        if number % 40:
            return
        changes += 1
        stable, candidate = (old, new) if number % 800 < 400 else (new, last)
        share = number % 400 / 4
        split = (
            Arm(stable.url, stable.version, 100 - share),
            Arm(candidate.url, candidate.version, share),
        )
        routes.write(path, Routes(live=split if share else (stable,)))

    def still(_: int) -> None:
        return None

    ways: dict[str, tuple[list[float], int]] = {}
    ways["straight"] = asyncio.run(ask(arms[0].url, still))
    routes.write(path, Routes(live=(old,)))
    ways["through the router"] = asyncio.run(ask(url, still))
    ways["while weights change"] = asyncio.run(ask(url, change))
    routes.write(path, Routes(live=(old,), shadow=Shadow(new.url, new.version)))
    ways["with a shadow"] = asyncio.run(ask(url, still))
    base = float(np.median(ways["straight"][0]))
    print(f"\n{REQUESTS} requests each, {UNDER_WAY} under way, server 5 ms; {changes} changes")
    for name, (taken, lost) in ways.items():
        p50, p99 = np.percentile(taken, [50, 99])
        print(f"{name:22} p50 {p50:6.1f} ms ({p50 / base:4.2f} ×)  p99 {p99:6.1f} ms  lost {lost}")
    for one in arms:
        one.stop()
    assert [lost for _, lost in ways.values()] == [0, 0, 0, 0]
