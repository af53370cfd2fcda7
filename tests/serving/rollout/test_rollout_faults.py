"""Candidates with real faults, and live rollouts: real KServe processes, router and registry.

The tests of this module share one shop and run in order.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serving import launch, processes, routes
from serving.rollout import intent
from serving.rollout.intent import Action
from serving.rollout.release import Outcome, Release, release, rollouts_of
from serving.rollout.state import Phase

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def faults() -> Iterator[dict[str, str]]:
    """Serve by a server whose faults can be chosen by version."""
    patch = pytest.MonkeyPatch()
    patch.setattr(launch, "SERVER", "faulty_server")
    outside = os.environ.get("PYTHONPATH", "")
    patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[2]), outside]))
    yield {}
    patch.undo()


@pytest.fixture(scope="module")
def shop(make_shop: Callable[..., object]) -> object:
    return make_shop(concurrency=2, maximum_users=400, memory={"growth_mib": 40, "samples": 8})


@pytest.fixture(scope="module")
def champion(shop) -> str:
    version = shop.register(shop.counts(future=True), "run-champion")
    shop.registry.promote(version)
    ended = release(shop.config, shop.tables, "d-0123456789ab", version, "run")
    assert ended.outcome is Outcome.UNCHANGED
    return version


def roll(shop, fault: str, *, counts=None, **rollout) -> tuple[Release, str]:
    """Register a version with a fault and roll it out."""
    history = 30 + len(shop.registry.versions())
    good = shop.counts(future=True) if counts is None else counts
    version = shop.register(good, f"run-{history}", history=history)
    os.environ["OSTINATO_FAULTS"] = json.dumps({version: fault})
    config = shop.config.model_copy(
        update={"rollout": shop.config.rollout.model_copy(update=rollout)}
    )
    return release(config, shop.tables, "d-0123456789ab", version, "run"), version


@contextmanager
def people(shop, workers: int = 3) -> Iterator[Counter[str]]:
    """Ask the live lane all the while; yield a count of the answers by version or error."""
    answers: Counter[str] = Counter()
    over = threading.Event()
    users = shop.log.users

    def ask(number: int) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            turn = number
            while not over.is_set():
                url = f"{launch.router(shop.config).url}/v1/models/ostinato:predict"
                body = {"instances": [{"user_id": users[turn % len(users)], "k": 5}]}
                turn += workers
                try:
                    told = client.post(url, json=body)
                    key = told.headers.get("x-ostinato-version", "?")
                    answers[key if told.status_code == 200 else f"HTTP {told.status_code}"] += 1
                except httpx.TransportError as error:
                    answers[repr(error)] += 1

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    ("fault", "words", "rollout"),
    [
        ("crash", "it crashed at load", {}),
        ("errors", "can't be served", {}),
        ("slow", "p95", {"good_latency_ms": 20.0}),
        ("leak", "it leaks", {"soak_s": (60.0,)}),
    ],
)
def test_a_candidate_with_a_fault_is_rolled_back_and_people_notice_nothing(
    shop, champion, fault, words, rollout
):
    with people(shop, 1) as answers:
        ended, _ = roll(shop, fault, **rollout)
    assert ended.outcome is Outcome.ROLLED_BACK
    assert words in ended.reason
    assert shop.registry.champion() == champion
    assert set(answers) == {champion}


def test_worse_lists_are_rolled_back(shop, champion):
    ended, _ = roll(shop, "", counts=-shop.counts(future=True))
    assert ended.outcome is Outcome.ROLLED_BACK
    assert "worse" in ended.reason


LIVE = {"users_per_arm": 20, "look_every_s": 1.0, "attribution_s": 1.0, "maximum_wait_s": 60.0}


def live(shop, **more):
    rollout = shop.config.rollout
    return {
        "traffic": "live",
        "steps": (50, 100),
        "live": rollout.live.model_copy(update=LIVE | more),
        "good_latency_ms": 5000.0,
        "hit_rate_kept": 0.0,
        "hit_rate_margin": 0.9,
    }


def stepping(shop) -> bool:
    states = rollouts_of(shop.config).unfinished()
    return bool(states) and states[-1].phase is Phase.STEPPING


def wait_for(condition: Callable[[], bool], timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_live_weights_router_restart_and_abort_lose_no_request_but_the_routers_own(shop, champion):
    """A step on live traffic; the router is stopped in it and started again; a person aborts."""
    enough = 20

    def both(answers: Counter[str]) -> bool:
        told = {key: count for key, count in answers.copy().items() if key.startswith("m-")}
        return len(told) == 2 and min(told.values()) > enough

    def disturb(answers: Counter[str]) -> None:
        wait_for(lambda: stepping(shop))
        wait_for(lambda: both(answers))
        before = launch.router(shop.config)
        processes.stop(shop.config.paths, before)
        launch.router(shop.config)
        rollouts = rollouts_of(shop.config)
        seen = rollouts.journal(rollouts.unfinished()[-1])
        # What was asked before the router went and after it came back.
        more = len(seen.read()) + enough
        wait_for(lambda: len(seen.read()) > more)
        intent.say(rollouts.of(rollouts.unfinished()[-1]), Action.ABORT, "enough was seen")

    with people(shop) as answers:
        thread = threading.Thread(target=disturb, args=(answers,))
        thread.start()
        ended, version = roll(shop, "", soak_s=(600.0,), **live(shop))
        thread.join()
        time.sleep(1)
    assert "aborted by hand" in ended.reason
    assert min(answers[champion], answers[version]) > enough
    # While no router listens there is nobody to answer; every request that reached one was.
    lost = {key for key in answers if key not in (champion, version)}
    assert all("Connect" in key or "RemoteProtocol" in key or "Read" in key for key in lost), lost
    records = rollouts_of(shop.config).journal(ended.rollout).read()
    assert len(records) > enough
    assert not any(record.failed for record in records)
    assert routes.read(launch.routes_path(shop.config.paths)).live[0].version == champion


def test_a_candidate_that_dies_in_a_live_step_costs_nobody_an_answer(shop, champion):
    def kill() -> None:
        wait_for(lambda: stepping(shop))
        time.sleep(2)
        (_, arm) = routes.read(launch.routes_path(shop.config.paths)).live
        server = next(s for s in processes.running(shop.config.paths) if s.url == arm.url)
        os.kill(server.pid, signal.SIGKILL)

    with people(shop) as answers:
        thread = threading.Thread(target=kill)
        thread.start()
        ended, version = roll(shop, "", soak_s=(600.0,), **live(shop))
        thread.join()
    assert ended.outcome is Outcome.ROLLED_BACK
    assert "has ended" in ended.reason or "failed" in ended.reason
    assert set(answers) <= {champion, version}
    assert shop.registry.champion() == champion


def test_a_shadow_then_live_steps_then_a_promotion_by_hand_lose_no_request(shop, champion):
    shadow = shop.config.rollout.shadow.model_copy(
        update={"enabled": True, "requests": 40, "users": 10, "maximum_wait_s": 60.0}
    )

    def promote() -> None:
        wait_for(lambda: stepping(shop))
        time.sleep(3)
        rollouts = rollouts_of(shop.config)
        intent.say(rollouts.of(rollouts.unfinished()[-1]), Action.PROMOTE, "it is good")

    with people(shop) as answers:
        thread = threading.Thread(target=promote)
        thread.start()
        ended, version = roll(shop, "", shadow=shadow, soak_s=(600.0,), **live(shop))
        thread.join()
        time.sleep(1)
    assert ended.outcome is Outcome.PROMOTED, ended.reason
    assert ended.rollout.shadow["verdict"] == "promote"
    assert len(rollouts_of(shop.config).comparisons(ended.rollout).read()) >= 40
    assert set(answers) == {champion, version}, "not one request was lost"
    assert shop.registry.champion() == version
