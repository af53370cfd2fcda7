"""Requests that wait for the same processor are computed together.

A compute thread takes everything that waits (up to a limit), answers it in one call and looks
again. So the size of a batch follows the load by itself: a lone request is computed at once and
alone; while one batch is computed, the next one gathers. The event loop only hands over and is
told: liveness and readiness probes never wait for a computation.

Shape letters: B asks of one batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from recommender.errors import ServingError

AskT = TypeVar("AskT")
FoundT = TypeVar("FoundT")
AnswerT = TypeVar("AnswerT")

MOST = 32
"""Asks of one batch: beyond it a batch gains little per ask, and the first of it waits longer."""

QUEUE = 1024
"""Asks that may wait."""

logger = logging.getLogger("ostinato.batcher")


class OverloadedError(ServingError):
    """More asks wait than may: the caller should be told 503 and try again, or elsewhere."""


class ClosedError(ServingError):
    """The batcher was closed: this server is going away (503)."""


@dataclass(frozen=True)
class Batch:
    """What became of one computation, for metrics.

    Attributes:
        requests: that shared it.
        asks: of them together, B.
        waited_s: how long each request had waited for it.
        took_s: how long it took.
        failed: whether it raised.
    """

    requests: int
    asks: int
    waited_s: tuple[float, ...]
    took_s: float
    failed: bool


@dataclass(eq=False)
class _Request(Generic[AskT, FoundT, AnswerT]):
    """One call of `answer` that waits."""

    asks: Sequence[AskT]
    found: Sequence[FoundT]
    told: asyncio.Future[list[AnswerT]]
    loop: asyncio.AbstractEventLoop
    since: float = field(default_factory=time.perf_counter)


class Batcher(Generic[AskT, FoundT, AnswerT]):
    """Answers concurrent requests in shared computations, in threads of its own.

    Args:
        work: answers B asks, given what was found for each; called by the compute threads, so
            with several of them it must be safe to call at once.
        most: asks of one batch; a single request may be larger and is then computed alone.
        wait_s: how long a batch waits for more requests, unless nothing else is under way: a
            request that comes alone never waits.
        queue: asks that may wait before requests are refused.
        threads: that compute. More than one only pays where cores are idle and `work` lets go
            of Python's lock.
        observe: told of every batch, by the compute thread; what it raises is logged and dropped.
    """

    def __init__(
        self,
        work: Callable[[Sequence[AskT], Sequence[FoundT]], list[AnswerT]],
        *,
        most: int = MOST,
        wait_s: float = 0.0,
        queue: int = QUEUE,
        threads: int = 1,
        observe: Callable[[Batch], None] | None = None,
    ) -> None:
        if most < 1 or queue < 1 or threads < 1 or wait_s < 0:
            raise ValueError("most, queue and threads must be positive, wait_s not negative")
        self._work = work
        self._most = most
        self._wait_s = wait_s
        self._queue = queue
        self._observe = observe
        self._waiting: deque[_Request[AskT, FoundT, AnswerT]] = deque()
        self._asks = 0
        self._shared = False
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._compute, name=f"compute-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Asks that wait and are not being computed yet."""
        return self._asks

    def has_room(self, asks: int) -> bool:
        """Tell whether a request may wait, too; one that finds an empty queue always may.

        Args:
            asks: of the request.
        """
        return not self._asks or self._asks + asks <= self._queue

    async def answer(self, asks: Sequence[AskT], found: Sequence[FoundT]) -> list[AnswerT]:
        """Answer one request; a caller that is cancelled is not computed for.

        Args:
            asks: of the request.
            found: what is known for each.

        Raises:
            OverloadedError: too many wait already.
            ClosedError: the batcher was closed.
            Exception: what `work` raises for this request; others of its batch aren't affected.
        """
        if not asks:
            return []
        loop = asyncio.get_running_loop()
        request = _Request(asks, found, loop.create_future(), loop)
        with self._changed:
            if self._closed:
                raise ClosedError("this server is going away", "ask again")
            if not self.has_room(len(asks)):
                raise self.refusal()
            self._waiting.append(request)
            self._asks += len(asks)
            self._changed.notify()
        return await request.told

    def refusal(self) -> OverloadedError:
        """Return what a request is told that may not wait."""
        told = f"{self._asks} asks wait already, {self._queue} may"
        return OverloadedError(told, "ask again in a moment")

    def close(self, timeout_s: float = 30.0) -> bool:
        """Take no more requests, and answer those that wait.

        Args:
            timeout_s: longest wait; what is still waiting then gets a `ClosedError`.

        Returns:
            Whether all of them were answered.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
            self._asks = 0
        gone = ClosedError("this server is going away", "ask again")
        _tell([(request, gone) for request in left])
        return not left and not any(thread.is_alive() for thread in self._threads)

    def _compute(self) -> None:
        while taken := self._taken():
            self._answer(taken)

    def _taken(self) -> list[_Request[AskT, FoundT, AnswerT]]:
        """Wait for requests and return those of one batch; none once the batcher is closed."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._shared = False
                    self._changed.wait()
                if self._shared and self._wait_s and not self._closed:
                    self._gather(time.monotonic() + self._wait_s)
                taken = self._next()
                if taken or self._closed:
                    self._shared = len(taken) > 1 or bool(self._waiting)
                    return taken

    def _gather(self, until: float) -> None:
        """Wait for a full batch, but not for long; the lock is held by the caller."""
        while self._asks < self._most and not self._closed:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _next(self) -> list[_Request[AskT, FoundT, AnswerT]]:
        """Take the requests of one batch off the queue, without those that were given up."""
        taken: list[_Request[AskT, FoundT, AnswerT]] = []
        count = 0
        while self._waiting:
            size = len(self._waiting[0].asks)
            if taken and count + size > self._most:
                break
            request = self._waiting.popleft()
            self._asks -= size
            if not request.told.cancelled():
                taken.append(request)
                count += size
        return taken

    def _answer(self, taken: Sequence[_Request[AskT, FoundT, AnswerT]]) -> None:
        """Compute one batch and tell everybody in it."""
        started = time.perf_counter()
        try:
            answers = self._worked(taken)
        except Exception as error:  # noqa: BLE001 whatever a model raises
            self._told(taken, started, failed=True)
            if len(taken) == 1:
                _tell([(taken[0], error)])
                return
            # One request may have spoilt it for all: each is asked for by itself.
            for request in taken:
                if not request.told.cancelled():
                    self._answer([request])
            return
        self._told(taken, started, failed=False)
        results: list[tuple[_Request[AskT, FoundT, AnswerT], list[AnswerT] | Exception]] = []
        first = 0
        for request in taken:
            results.append((request, answers[first : first + len(request.asks)]))
            first += len(request.asks)
        _tell(results)

    def _worked(self, taken: Sequence[_Request[AskT, FoundT, AnswerT]]) -> list[AnswerT]:
        asks = [ask for request in taken for ask in request.asks]
        answers = self._work(asks, [each for request in taken for each in request.found])
        if len(answers) != len(asks):
            raise ValueError(f"{len(answers)} answers to {len(asks)} asks")
        return answers

    def _told(
        self, taken: Sequence[_Request[AskT, FoundT, AnswerT]], started: float, *, failed: bool
    ) -> None:
        if self._observe is None:
            return
        waited = tuple(started - request.since for request in taken)
        took = time.perf_counter() - started
        asks = sum(len(request.asks) for request in taken)
        try:
            self._observe(Batch(len(taken), asks, waited, took, failed))
        except Exception:
            logger.exception("what observes batches failed")


def _tell(
    results: Sequence[tuple[_Request[AskT, FoundT, AnswerT], list[AnswerT] | Exception]],
) -> None:
    """Hand results to the event loops that wait, waking each loop once."""
    for loop in {request.loop for request, _ in results}:
        mine = [(request.told, result) for request, result in results if request.loop is loop]
        # A loop that was closed has nobody left to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(
    results: Sequence[tuple[asyncio.Future[list[AnswerT]], list[AnswerT] | Exception]],
) -> None:
    for told, result in results:
        if told.done():
            continue
        if isinstance(result, Exception):
            told.set_exception(result)
        else:
            told.set_result(result)
