"""What every consumer does with a batch: apply it, try again, count it, keep the landing tidy."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from feature_repo.stream.apply import Applied, EventSink
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from feature_repo.stream.metrics import StreamMetrics
from feature_repo.stream.retry import retried
from recommender.errors import UserError

logger = logging.getLogger("ostinato.stream")


class Worker:
    """Applies batches, one at a time.

    Args:
        sink: where they go.
        metrics: count them.
        compact_files: landed files after which they are joined, in the background.
    """

    def __init__(self, sink: EventSink, metrics: StreamMetrics, compact_files: int) -> None:
        self.sink = sink
        self.metrics = metrics
        self._tidy = _Tidy(sink.landing, compact_files)

    def apply(
        self,
        events: Sequence[StreamEvent],
        within_s: float,
        pause: Callable[[float], object] = time.sleep,
    ) -> Applied:
        """Apply a batch, again and again while a store can't be written.

        Args:
            events: in the order of delivery.
            within_s: how long to go on.
            pause: waits for some seconds between two attempts.

        Raises:
            FeatureError, StorageError: it went on failing; acknowledge nothing.
        """
        started = time.monotonic()
        failed = self.metrics.failed
        # Each half on its own: an online store that is away must not fill the landing with copies.
        landed = retried(lambda: self.sink.land(events), within_s, pause, failed)
        told = retried(lambda: self.sink.bring_online(landed), within_s, pause, failed)
        suppressed = len(events) - len(landed)
        told += Applied(received=suppressed, suppressed=suppressed)
        seconds = time.monotonic() - started
        self.metrics.applied(told, landed, seconds, self.sink.clock())
        self._tidy.landed()
        return told

    def close(self) -> None:
        """Write what freshness there is to note, and wait for the background."""
        self._tidy.close()
        self.sink.close()


class _Tidy:
    """Joins landed files in a thread of its own, so that no event waits for it."""

    def __init__(self, landing: Landing, every: int) -> None:
        self._landing = landing
        self._every = every
        self._files: int | None = None
        self._thread: threading.Thread | None = None

    def landed(self) -> None:
        """Count one more file."""
        if self._thread is not None and self._thread.is_alive():
            return
        try:
            self._files = self._landing.files() if self._files is None else self._files + 1
        except UserError as error:
            logger.warning("landed files can't be counted: %s", error.message)
            return
        if self._files >= self._every:
            self._files = None
            self._thread = threading.Thread(target=self._compact, name="compaction")
            self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _compact(self) -> None:
        try:
            joined = self._landing.compact()
        except UserError as error:
            # Nothing is lost and nothing waits for it: the next round tries again.
            logger.warning("landed files can't be joined: %s", error)
        else:
            logger.info("joined %d landed files", joined)
