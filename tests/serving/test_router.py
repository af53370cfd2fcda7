"""The router: a real process between real HTTP clients and real HTTP servers."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from upstreams import Upstream

from recommender.workspace import Workspace
from serving import processes, routes
from serving.processes import Command, Server
from serving.routes import LIVE, REHEARSAL, Arm, Routes
from serving.split import ranked

PREDICT = "/v1/models/ostinato:predict"
Start = Callable[[str], Upstream]


@pytest.fixture(scope="module")
def router(workspace: Workspace) -> Server:
    arguments = ["--routes", str(workspace.serving / "routes.json")]
    command = Command("router", "router", "serving.router", arguments, "/healthz")
    return processes.start(workspace, command, host="127.0.0.1")


@pytest.fixture
def client(router: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=router.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def put(workspace: Workspace, router: Server) -> Iterator[Callable[[Routes], None]]:
    path = workspace.serving / "routes.json"
    yield lambda wanted: routes.write(path, wanted)
    routes.write(path, Routes())


def body(user: str) -> dict[str, object]:
    return {"instances": [{"user_id": user, "k": 3}]}


def wait_for_requests(one: Upstream, count: int = 20) -> None:
    end = time.monotonic() + 30
    while one.requests < count:
        assert time.monotonic() < end, f"{one.version} got {one.requests} requests"
        time.sleep(0.01)


def test_the_users_are_split_as_promised_and_each_stays_with_an_arm(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    old, new = upstream("m-old"), upstream("m-new")
    split = (Arm(old.url, "m-old", 80), Arm(new.url, "m-new", 20))
    put(Routes(live=split))
    for user in [f"u{number}" for number in range(60)] * 2:
        answer = client.post(PREDICT, json=body(user))
        assert answer.headers["x-ostinato-version"] == ranked(split, "", user)[0].version
        assert answer.json()["version"] == answer.headers["x-ostinato-version"]
        assert answer.json()["path"] == PREDICT
        assert answer.json()["got"] == body(user)
    assert old.requests + new.requests == 120


def test_open_inference_requests_are_split_by_the_same_user(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    split = (Arm(upstream("m-a").url, "m-a", 50), Arm(upstream("m-b").url, "m-b", 50))
    put(Routes(live=split))
    for number in range(20):
        tensor = {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": [f"u{number}"]}
        v2 = client.post("/v2/models/ostinato/infer", json={"inputs": [tensor]})
        assert v2.headers["x-ostinato-version"] == ranked(split, "", f"u{number}")[0].version
        v1 = client.post(PREDICT, json=body(f"u{number}"))
        assert v1.headers["x-ostinato-version"] == v2.headers["x-ostinato-version"]


def test_without_a_user_the_request_id_decides(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    put(Routes(live=(Arm(upstream("m-a").url, "m-a", 50), Arm(upstream("m-b").url, "m-b", 50))))
    anonymous = {"instances": [{"history": []}]}
    same = {
        client.post(PREDICT, json=anonymous, headers={"x-request-id": "r1"}).json()["version"]
        for _ in range(10)
    }
    other = {client.post(PREDICT, json=anonymous).json()["version"] for _ in range(40)}
    assert len(same) == 1
    assert other == {"m-a", "m-b"}


def test_the_rehearsal_lane_is_taken_only_by_those_who_ask_for_it(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    live, rehearsed = upstream("m-live"), upstream("m-rehearsed")
    put(Routes(live=(Arm(live.url, "m-live"),), rehearsal=(Arm(rehearsed.url, "m-rehearsed"),)))
    told = client.post(PREDICT, json=body("u"), headers={"x-ostinato-lane": "rehearsal"})
    assert told.json()["version"] == "m-rehearsed"
    assert client.post(PREDICT, json=body("u")).json()["version"] == "m-live"
    refused = client.post(PREDICT, json=body("u"), headers={"x-ostinato-lane": "canary"})
    assert refused.status_code == 400
    assert "'canary' is no lane" in refused.json()["error"]


def test_a_dead_arm_costs_the_live_lane_nothing_but_is_counted(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    dead, alive = upstream("m-dead"), upstream("m-alive")
    dead.stop()
    put(Routes(live=(Arm(dead.url, "m-dead", 50), Arm(alive.url, "m-alive", 50))))
    answers = [client.post(PREDICT, json=body(f"u{number}")) for number in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-ostinato-version"] for answer in answers} == {"m-alive"}
    counts = client.get("/routes").json()["lanes"][LIVE]["counts"]
    assert counts["m-dead unreachable"] >= 1
    assert counts["failovers"] >= 1


def test_a_dead_arm_shows_as_an_error_in_the_rehearsal_lane(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    dead, alive = upstream("m-dead"), upstream("m-alive")
    dead.stop()
    split = (Arm(dead.url, "m-dead", 50), Arm(alive.url, "m-alive", 50))
    put(Routes(rehearsal=split))
    for number in range(20):
        told = client.post(PREDICT, json=body(f"u{number}"), headers={"x-ostinato-lane": REHEARSAL})
        version = ranked(split, "", f"u{number}")[0].version
        assert told.headers["x-ostinato-version"] == version
        assert told.status_code == (502 if version == "m-dead" else 200)


def test_an_arm_that_is_not_ready_is_passed_over_but_an_error_of_its_own_is_told(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start
) -> None:
    loading, good = upstream("m-loading"), upstream("m-good")
    loading.status = 503
    put(Routes(live=(Arm(loading.url, "m-loading", 99), Arm(good.url, "m-good", 1))))
    assert {client.post(PREDICT, json=body(f"u{n}")).status_code for n in range(10)} == {200}
    loading.status = 500
    told = {client.post(PREDICT, json=body(f"u{n}")).status_code for n in range(10)}
    assert 500 in told


def test_an_empty_lane_says_so(client: httpx.Client, put: Callable[[Routes], None]) -> None:
    put(Routes())
    assert client.post(PREDICT, json=body("u")).status_code == 503
    told = client.post(PREDICT, json=body("u"), headers={"x-ostinato-lane": "rehearsal"})
    assert told.status_code == 503
    assert "rehearsal lane is empty" in told.json()["error"]


def test_damaged_routes_leave_the_old_ones_in_force(
    client: httpx.Client, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    put(Routes(live=(Arm(upstream("m-a").url, "m-a"),)))
    assert client.post(PREDICT, json=body("u")).json()["version"] == "m-a"
    (workspace.serving / "routes.json").write_text('{"lanes": {"live": [')
    assert client.post(PREDICT, json=body("u")).json()["version"] == "m-a"
    assert "no valid routes" in client.get("/routes").json()["error"]
    put(Routes(live=(Arm(upstream("m-b").url, "m-b"),)))
    assert client.post(PREDICT, json=body("u")).json()["version"] == "m-b"
    assert client.get("/routes").json()["error"] == ""


def test_changing_routes_and_stopping_the_old_arm_under_load_loses_no_request(
    router: Server, put: Callable[[Routes], None], upstream: Start
) -> None:
    arms = [upstream(f"m-{number}") for number in range(6)]
    for arm in arms:
        arm.delay_s = 0.005
    put(Routes(live=(Arm(arms[0].url, "m-0"),)))
    seen: Counter[tuple[int, str]] = Counter()
    ended = threading.Event()

    async def ask(worker: int) -> None:
        async with httpx.AsyncClient(base_url=router.url, timeout=20, trust_env=False) as client:
            number = 0
            while not ended.is_set():
                number += 1
                told = await client.post(PREDICT, json=body(f"u{worker}-{number}"))
                seen[told.status_code, told.headers.get("x-ostinato-version", "?")] += 1

    async def all_of_them() -> None:
        await asyncio.gather(*(ask(worker) for worker in range(8)))

    load = threading.Thread(target=asyncio.run, args=(all_of_them(),))
    load.start()
    try:
        for old, new in itertools.pairwise(arms):
            both = (Arm(old.url, old.version, 50), Arm(new.url, new.version, 50))
            wait_for_requests(old)
            put(Routes(live=both))
            wait_for_requests(new)
            put(Routes(live=(Arm(new.url, new.version),)))
            old.stop()
    finally:
        ended.set()
        load.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {arm.version for arm in arms}


def test_sigterm_answers_what_is_under_way(
    workspace: Workspace, upstream: Start, tmp_path: Path
) -> None:
    slow = upstream("m-slow")
    slow.delay_s = 0.6
    path = tmp_path / "routes.json"
    routes.write(path, Routes(live=(Arm(slow.url, "m-slow"),)))
    command = Command("draining", "router", "serving.router", ["--routes", str(path)], "/healthz")
    server = processes.start(workspace, command, host="127.0.0.1")
    told: list[int] = []

    def ask() -> None:
        told.append(httpx.post(server.url + PREDICT, json=body("u"), timeout=10).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    while not slow.requests:
        time.sleep(0.01)
    os.kill(server.pid, signal.SIGTERM)
    asking.join()
    assert told == [200]
    processes.stop(workspace, server)
    assert not server.alive
