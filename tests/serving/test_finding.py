"""The feature store slow, down, killed and back: answers go on, and nobody waits for it twice."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis_server as redis_program
from taste_shop import DAY, NOW, PROJECT, TasteShop, fill, open_taste_shop

from feature_repo.stores.redis import RedisStore
from recommender.errors import FeatureError
from recommender.workspace import Workspace
from serving.ask import Ask, Events, Fallback
from serving.breaker import Breaker
from serving.finding import Finder
from serving.history import StoreHistories
from serving.predictor import Predictor

ANN = Ask(user_id="ann")
DEADLINE_S = 0.3


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_breaker_asks_one_question_per_pause_until_an_answer_comes() -> None:
    clock = Clock()
    breaker = Breaker(2, 10.0, clock)
    for _ in range(2):
        assert breaker.lets_through()
        breaker.failed()
    assert not breaker.closed
    assert not breaker.lets_through()
    clock.now = 10.0
    # One is let through; the others go on without.
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    breaker.failed()
    clock.now = 19.9
    assert not breaker.lets_through()
    clock.now = 20.0
    assert breaker.lets_through()
    breaker.succeeded()
    assert breaker.closed
    assert all(breaker.lets_through() for _ in range(5))


def test_failures_that_are_not_in_a_row_stop_nothing() -> None:
    breaker = Breaker(2, 10.0, Clock())
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
        assert breaker.lets_through()


class Shelves:
    """A reader whose reads wait for an event, fail, or answer."""

    feature_service = "unified_v1"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.reads: Counter[str] = Counter()

    def read(self, user_id: str) -> Events | None:
        self.reads["history"] += 1
        self.gate.wait(5)
        if self.broken:
            raise FeatureError("the store is broken")
        return Events(["i01"], ["click"], [NOW], [1.0]) if user_id == "ann" else None

    def profile(self, user_id: str) -> dict[str, str] | None:
        self.reads["profile"] += 1
        return {"country": "DE"} if user_id == "dora" else None


def test_a_profile_is_read_only_of_people_without_history_and_where_it_matters() -> None:
    reader = Shelves()
    finder = Finder(reader, 5.0)

    async def ask() -> list[Any]:
        before = await finder.found(Ask(user_id="dora"))
        finder.profiles = True
        asked = [Ask(user_id="dora"), ANN, Ask(history=[]), Ask(user_id="ann", history=[])]
        return [before, *[await finder.found(each) for each in asked]]

    before, dora, ann, anonymous, given = asyncio.run(ask())
    assert before.profile is None
    assert (dora.profile, dora.fallback) == ({"country": "DE"}, Fallback.UNKNOWN_USER)
    assert (ann.profile, ann.fallback, len(ann.events.items)) == (None, None, 1)
    assert (anonymous.profile, given.profile) == (None, None)
    assert reader.reads == {"history": 3, "profile": 2}


def test_a_store_that_hangs_costs_the_deadline_three_times_and_then_nothing() -> None:
    reader = Shelves()
    reader.gate.clear()
    finder = Finder(reader, 0.1, pause_s=30)

    async def ask() -> tuple[list[Any], float]:
        waited = [await finder.found(ANN) for _ in range(3)]
        started = time.perf_counter()
        spared = [await finder.found(ANN) for _ in range(50)]
        return waited + spared, time.perf_counter() - started

    found, took = asyncio.run(ask())
    reader.gate.set()
    assert {each.fallback for each in found} == {Fallback.STORE_UNAVAILABLE}
    assert all(each.read_s >= 0.1 for each in found[:3])
    assert took < 0.1
    assert reader.reads["history"] == 3


def test_a_store_that_is_back_is_asked_again_after_the_pause() -> None:
    reader = Shelves()
    reader.broken = True
    finder = Finder(reader, 1.0, pause_s=0.1)

    async def ask() -> tuple[Any, Any]:
        for _ in range(4):
            await finder.found(ANN)
        asked = reader.reads["history"]
        reader.broken = False
        still = await finder.found(ANN)
        await asyncio.sleep(0.15)
        assert reader.reads["history"] == asked
        return still, await finder.found(ANN)

    still, back = asyncio.run(ask())
    assert still.fallback is Fallback.STORE_UNAVAILABLE
    assert (back.fallback, back.events.items) == (None, ["i01"])


def test_a_store_that_is_back_gives_history_and_profile_to_the_one_that_tries_it() -> None:
    reader = Shelves()
    reader.broken = True
    finder, clock = Finder(reader, 5.0), Clock()
    finder._breaker = Breaker(3, 10.0, clock)
    finder.reads(profiles=False, everybody=True, surfaces=False)
    dora = Ask(user_id="dora")

    async def ask() -> tuple[Any, Any]:
        # Profiles are answered all the while, which does not make up for the histories.
        failed = [await finder.found(dora) for _ in range(4)]
        assert reader.reads == {"history": 3, "profile": 3}
        reader.broken = False
        clock.now = 10.0
        return failed[0], await finder.found(dora)

    failed, back = asyncio.run(ask())
    assert failed.fallback is Fallback.STORE_UNAVAILABLE
    assert (back.fallback, back.profile) == (Fallback.UNKNOWN_USER, {"country": "DE"})
    assert reader.reads == {"history": 4, "profile": 4}


@pytest.fixture
def shop_in_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    if not redis_program.program():
        pytest.skip("no redis-server program; install Debian's package redis-server")
    with redis_program.running() as running:
        shop = open_taste_shop(tmp_path)
        monkeypatch.setenv("OSTINATO_PROFILE", "production")
        monkeypatch.setenv("OSTINATO_REDIS", running.connection)
        monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
        monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        fill(RedisStore(running.connection, PROJECT))
        yield shop, running


def loaded(shop: TasteShop) -> Predictor:
    paths = Workspace(shop.config.paths.root)
    reader = StoreHistories(paths, PROJECT, DEADLINE_S)
    made = Predictor("ostinato", shop.folder, shop.version, paths.keys, reader, DEADLINE_S)
    made.load()
    return made


@pytest.mark.needs_redis
def test_redis_killed_and_hanging_under_load_fails_no_request(shop_in_redis: Any) -> None:
    shop, redis = shop_in_redis
    served = loaded(shop)
    body = {"instances": [{"user_id": "ann", "k": 3, "time": NOW + DAY}]}
    told: list[tuple[str | None, float]] = []

    async def one() -> None:
        started = time.perf_counter()
        (answer,) = (await served.predict(body))["predictions"]
        assert len(answer["items"]) == 3
        told.append((answer["fallback"], time.perf_counter() - started))

    async def client(over: asyncio.Event) -> None:
        while not over.is_set():
            await one()

    async def until(fallback: str | None) -> None:
        """Wait until the answers are such."""
        deadline = time.monotonic() + 10
        while not told or told[-1][0] != fallback:
            assert time.monotonic() < deadline, f"no answer with fallback {fallback}"
            await asyncio.sleep(0.01)

    async def storm() -> None:
        over = asyncio.Event()
        clients = [asyncio.create_task(client(over)) for _ in range(8)]
        await until(None)
        redis.stop()
        await until("store_unavailable")
        redis.start()
        fill(RedisStore(redis.connection, PROJECT))
        await until(None)
        redis.suspend()
        await until("store_unavailable")
        hanging = len(told)
        await asyncio.sleep(0.8)
        redis.resume()
        await until(None)
        over.set()
        await asyncio.gather(*clients)  # raises what any of them raised
        # At most one of eight waits at a time, and the rest is answered at once.
        slow = [took for _, took in told[hanging:] if took >= DEADLINE_S]
        assert len(slow) < 0.2 * len(told[hanging:])

    try:
        asyncio.run(storm())
    finally:
        redis.resume()
        served.stop()
    assert {fallback for fallback, _ in told} == {None, "store_unavailable"}
