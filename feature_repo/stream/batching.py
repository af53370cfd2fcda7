"""Requests that wait together: events of many requests become one micro-batch.

A batch ends when it is full, or a moment after its first event came. While one batch is being
applied the next one fills, so that the cost of landing is shared by whoever asks at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from feature_repo.stream.event import StreamEvent


class TooManyWaitingError(Exception):
    """The queue is full: whoever sends should come again later."""


class _Waiting(NamedTuple):
    events: Sequence[StreamEvent]
    done: asyncio.Future[None]


class Batches:
    """Collects events and applies them batch by batch, in the order of their coming.

    Args:
        apply: applies one batch; called in a thread, never twice at once.
        size: events after which a batch is full.
        linger_s: longest wait for more after a batch's first event.
        most_waiting: requests that may wait; more are refused.
    """

    def __init__(
        self,
        apply: Callable[[list[StreamEvent]], object],
        size: int,
        linger_s: float,
        most_waiting: int = 1_000,
    ) -> None:
        self._apply = apply
        self._size = size
        self._linger_s = linger_s
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(most_waiting)
        self._task: asyncio.Task[None] | None = None

    async def submit(self, events: Sequence[StreamEvent]) -> None:
        """Return when the events are applied.

        Raises:
            TooManyWaitingError: too many requests wait already.
            Exception: what applying them raised; they may have been applied in part.
        """
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise TooManyWaitingError from None
        await waiting.done

    def start(self) -> None:
        """Begin to apply what is submitted."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Apply what still waits, then end."""
        if self._task is None:
            return
        await self._queue.join()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            batch = await self._gathered()
            try:
                await asyncio.to_thread(
                    self._apply, [event for each in batch for event in each.events]
                )
            except Exception as error:  # noqa: BLE001 - goes to whoever waits for it
                for each in batch:
                    if not each.done.done():
                        each.done.set_exception(error)
            else:
                for each in batch:
                    if not each.done.done():
                        each.done.set_result(None)
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _gathered(self) -> list[_Waiting]:
        batch = [await self._queue.get()]
        count = len(batch[0].events)
        ends = asyncio.get_running_loop().time() + self._linger_s
        while count < self._size:
            try:
                # What waits already costs no time, also after the lingering.
                more = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                left = ends - asyncio.get_running_loop().time()
                if left <= 0:
                    break
                try:
                    more = await asyncio.wait_for(self._queue.get(), left)
                except TimeoutError:
                    break
            batch.append(more)
            count += len(more.events)
        return batch
