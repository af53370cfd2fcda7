"""The log of served lists: a bounded queue in memory, and one thread that writes it.

`record` puts a list into the queue and returns, in a microsecond or two. Nothing that goes wrong
behind it reaches a request: where the queue is full or the sink stays away, lists are dropped and
counted (`ostinato_served_lists_total`), and the log says so once per write.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from recommender.config.served_log import ServedLogConfig
from serving.served_log.served_list import Failure, ServedList
from serving.served_log.sinks import Sink

logger = logging.getLogger("ostinato.served_log")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_CLOSING_S = 10.0


class ServedLog:
    """Logs served lists without holding anybody up.

    Args:
        sink: where they go.
        config: sizes and waits.
        gone: tells of a pseudonym whether that user asked to be forgotten: their lists are left
            out at the last moment, since they may have waited in the queue meanwhile.
        count: called with an outcome and how many lists had it: `written`, `dropped` (the queue
            was full), `lost` (the sink did not take them), `suppressed`.
    """

    def __init__(
        self,
        sink: Sink,
        config: ServedLogConfig,
        gone: Callable[[str], bool] = lambda _: False,
        count: Callable[[str, int], None] = lambda _outcome, _count: None,
    ) -> None:
        self._sink = sink
        self._config = config
        self._gone = gone
        self._count = count
        self._queue: queue.Queue[ServedList | Failure | None] = queue.Queue(config.queue)
        # Taken from the queue, not written yet.
        self._held: list[ServedList | Failure] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many lists wait to be written."""
        return self._queue.qsize() + len(self._held)

    def record(self, served: ServedList | Failure) -> None:
        """Take a list, or a request that failed; never blocks, never raises."""
        try:
            if self._closing.is_set():
                self._count("dropped", 1)
                return
            self._queue.put_nowait(served)
        except queue.Full:
            self._count("dropped", 1)

    def close(self, wait_s: float = _CLOSING_S) -> None:
        """Write what waits, and end; a second call does nothing.

        Args:
            wait_s: longest wait for the sink; what it has not taken by then is lost.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        with contextlib.suppress(queue.Full):  # then the writer is awake
            self._queue.put_nowait(None)
        self._thread.join(wait_s)
        if self._thread.is_alive():
            logger.warning("the sink of served lists did not take the last %s", self.waiting)
            self._count("lost", self.waiting)
        else:
            self._sink.close()

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            if lists := self._next():
                self._write(lists)
                self._held = []

    def _next(self) -> list[ServedList | Failure]:
        """Return the lists of the next file: as many as came in `rotate_s`."""
        lists = self._held = []
        end = None
        while len(lists) < self._config.rotate_lists:
            left = None if end is None else max(end - time.monotonic(), 0.0)
            try:
                # While it closes nothing new comes: what is there is all.
                one = self._queue.get(not self._closing.is_set(), left)
            except queue.Empty:
                break
            if one is None:
                break
            lists.append(one)
            end = end or time.monotonic() + self._config.rotate_s
        return lists

    def _write(self, lists: Sequence[ServedList | Failure]) -> None:
        pause = _FIRST_PAUSE_S
        for attempt in range(self._config.attempts):
            try:
                kept = [one for one in lists if not (one.user and self._gone(one.user))]
                if answered := [one for one in kept if isinstance(one, ServedList)]:
                    self._sink.served(answered)
                if failed := [one for one in kept if isinstance(one, Failure)]:
                    self._sink.failed(failed)
            except Exception as error:  # noqa: BLE001 whatever a sink raises must not end the thread
                told = str(error)
            else:
                self._count("written", len(kept))
                if len(kept) < len(lists):
                    self._count("suppressed", len(lists) - len(kept))
                return
            if attempt + 1 < self._config.attempts:
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        logger.warning("%s served lists are lost: %s", len(lists), told)
        self._count("lost", len(lists))
