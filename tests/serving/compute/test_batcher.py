"""Requests that share computations: who is answered what, and what never happens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.compute import Batch, Batcher, ClosedError, OverloadedError


class Work:
    """Answers `ask + found`; counts its batches and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()

    def __call__(self, asks: Sequence[int], found: Sequence[int]) -> list[int]:
        self.batches.append(list(asks))
        self.started.set()
        assert self.go.wait(10)
        if -1 in asks:
            raise ArithmeticError("minus one")
        return [ask + each for ask, each in zip(asks, found, strict=True)]

    def hold(self) -> None:
        self.go.clear()
        self.started.clear()


@contextmanager
def batcher(work: Callable[..., list[int]], **options):
    made = Batcher(work, **options)
    try:
        yield made
    finally:
        made.close(10)


async def begun(work: Work) -> None:
    while not work.started.is_set():
        await asyncio.sleep(0.001)


async def queued(made: Batcher, asks: int) -> None:
    while made.waiting < asks:
        await asyncio.sleep(0.001)


@settings(max_examples=25, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(0, 99), max_size=7), min_size=1, max_size=20),
    most=st.integers(1, 12),
    threads=st.integers(1, 3),
)
def test_everybody_gets_their_own_answers_in_order(requests, most, threads) -> None:
    seen: list[Batch] = []
    work = Work()
    with batcher(work, most=most, threads=threads, observe=seen.append) as made:

        async def all_of_them() -> list[list[int]]:
            return await asyncio.gather(
                *(made.answer(asks, [1000 * ask for ask in asks]) for asks in requests)
            )

        assert asyncio.run(all_of_them()) == [[1001 * ask for ask in asks] for asks in requests]
    assert sum(batch.asks for batch in seen) == sum(map(len, requests))
    # A batch is larger than allowed only where one request alone is.
    assert all(batch.asks <= most or batch.requests == 1 for batch in seen)


def test_what_waits_while_a_batch_is_computed_becomes_the_next_batch() -> None:
    work = Work()
    with batcher(work) as made:

        async def ask() -> None:
            work.hold()
            tasks = [asyncio.create_task(made.answer([0], [0]))]
            await begun(work)
            tasks += [asyncio.create_task(made.answer([n], [0])) for n in range(1, 6)]
            await queued(made, 5)
            work.go.set()
            await asyncio.gather(*tasks)

        asyncio.run(ask())
    assert work.batches == [[0], [1, 2, 3, 4, 5]]


def test_a_lone_request_does_not_wait_for_company() -> None:
    with batcher(Work(), wait_s=5.0) as made:

        async def ask() -> float:
            started = time.perf_counter()
            for _ in range(3):
                await made.answer([1], [1])
            return time.perf_counter() - started

        assert asyncio.run(ask()) < 4


def test_under_load_a_batch_waits_for_company_where_that_is_wanted() -> None:
    batches: list[list[int]] = []
    turns = threading.Semaphore(0)

    def work(asks: Sequence[int], found: Sequence[int]) -> list[int]:
        batches.append(list(asks))
        assert turns.acquire(timeout=10)
        return list(asks)

    async def until(count: int) -> None:
        while len(batches) < count:
            await asyncio.sleep(0.001)

    with batcher(work, wait_s=5.0, most=3) as made:

        async def ask() -> None:
            tasks = []

            def send(*numbers: int) -> None:
                tasks.extend(asyncio.create_task(made.answer([n], [0])) for n in numbers)

            send(0)
            await until(1)
            send(1, 2)
            await queued(made, 2)
            turns.release()
            await until(2)
            # The batch before was shared, so this one is not computed before it is full.
            send(3)
            await queued(made, 1)
            turns.release()
            await asyncio.sleep(0.05)
            send(4, 5)
            turns.release()
            await asyncio.gather(*tasks)

        asyncio.run(ask())
    assert batches == [[0], [1, 2], [3, 4, 5]]


def test_one_request_that_fails_fails_alone() -> None:
    work, seen = Work(), []
    with batcher(work, observe=seen.append) as made:

        async def ask() -> list[object]:
            work.hold()
            first = asyncio.create_task(made.answer([0], [0]))
            await begun(work)
            rest = [asyncio.create_task(made.answer([n], [0])) for n in (1, -1, 2)]
            await queued(made, 3)
            work.go.set()
            await first
            return await asyncio.gather(*rest, return_exceptions=True)

        one, bad, two = asyncio.run(ask())
    assert (one, two) == ([1], [2])
    assert isinstance(bad, ArithmeticError)
    assert [batch.failed for batch in seen] == [False, True, False, True, False]


def test_a_request_that_was_given_up_is_not_computed() -> None:
    work = Work()
    with batcher(work) as made:

        async def ask() -> None:
            work.hold()
            first = asyncio.create_task(made.answer([0], [0]))
            await begun(work)
            gone, stays = (asyncio.create_task(made.answer([n], [0])) for n in (7, 8))
            await queued(made, 2)
            gone.cancel()
            await asyncio.sleep(0)
            work.go.set()
            assert await first == [0]
            assert await stays == [8]
            with pytest.raises(asyncio.CancelledError):
                await gone

        asyncio.run(ask())
    assert work.batches == [[0], [8]]


def test_too_many_requests_are_refused_at_once_and_the_others_answered() -> None:
    work = Work()
    with batcher(work, queue=2) as made:

        async def ask() -> None:
            work.hold()
            first = asyncio.create_task(made.answer([0], [0]))
            await begun(work)
            waiting = [asyncio.create_task(made.answer([n], [0])) for n in (1, 2)]
            await queued(made, 2)
            with pytest.raises(OverloadedError, match="2 asks wait already"):
                await made.answer([3], [0])
            work.go.set()
            assert await asyncio.gather(first, *waiting) == [[0], [1], [2]]

        asyncio.run(ask())


def test_closing_answers_what_waits_and_refuses_what_comes() -> None:
    work = Work()
    made = Batcher(work)

    async def ask() -> None:
        work.hold()
        tasks = [asyncio.create_task(made.answer([n], [0])) for n in range(3)]
        await begun(work)
        closing = asyncio.create_task(asyncio.to_thread(made.close))
        await asyncio.sleep(0.02)
        with pytest.raises(ClosedError):
            await made.answer([9], [0])
        work.go.set()
        assert await asyncio.gather(*tasks) == [[0], [1], [2]]
        assert await closing

    asyncio.run(ask())


def test_closing_does_not_wait_for_ever() -> None:
    work = Work()
    made = Batcher(work, most=1)

    async def ask() -> None:
        work.hold()
        first, second = (asyncio.create_task(made.answer([n], [0])) for n in range(2))
        await begun(work)
        assert not await asyncio.to_thread(made.close, 0.05)
        with pytest.raises(ClosedError):
            await second
        work.go.set()
        assert await first == [0]

    asyncio.run(ask())


def test_the_event_loop_goes_on_while_a_batch_is_computed() -> None:
    work = Work()
    with batcher(work) as made:

        async def ask() -> int:
            work.hold()
            task = asyncio.create_task(made.answer([1], [1]))
            turns = 0
            await begun(work)
            while turns < 100:
                await asyncio.sleep(0)
                turns += 1
            assert not task.done()
            work.go.set()
            await task
            return turns

        assert asyncio.run(ask()) == 100


def test_a_loop_that_went_away_leaves_the_batcher_alive() -> None:
    work = Work()
    with batcher(work) as made:
        work.hold()
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(made.answer([1], [1]), 0.02))
        work.go.set()
        assert asyncio.run(made.answer([2], [2])) == [4]


def test_an_observer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(batch: Batch) -> None:
        raise OSError("no metrics")

    with batcher(Work(), observe=broken) as made:
        assert asyncio.run(made.answer([1], [1])) == [2]
    assert "what observes batches failed" in caplog.text


def test_work_that_loses_an_answer_is_an_error_and_not_a_wrong_list() -> None:
    with (
        batcher(lambda asks, found: [0]) as made,
        pytest.raises(ValueError, match="1 answers to 2 asks"),
    ):
        asyncio.run(made.answer([1, 2], [0, 0]))


@pytest.mark.parametrize("option", [{"most": 0}, {"queue": 0}, {"threads": 0}, {"wait_s": -1}])
def test_senseless_limits_are_refused(option) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Batcher(Work(), **option)
