"""What a consumer tells Prometheus: events by outcome, how late they are, how large batches are.

A registry of its own, handed around: two consumers in one process don't mix, and importing this
file registers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from feature_repo.stream.apply import Applied
from feature_repo.stream.event import StreamEvent

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

OUTCOMES = ("kept", "older", "repeated", "aside", "suppressed")
_LAG_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600, 86400)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class StreamMetrics:
    """The figures of one consumer.

    Args:
        source: `kafka` or `http`; a label of every figure.
    """

    def __init__(self, source: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        self._source = source
        self._events = Counter(
            "ostinato_stream_events",
            "Events by what became of them: kept, older (than a full window), repeated, aside "
            "(makes no history), suppressed (asked to be forgotten), rejected.",
            ["source", "outcome"],
            registry=self.registry,
        )
        self._noted = Counter(
            "ostinato_stream_noted",
            "Accepted all the same: unknown_item, conflicting (other contents under an id that "
            "was taken), repaired (rows that were damaged).",
            ["source", "what"],
            registry=self.registry,
        )
        self._lag = Histogram(
            "ostinato_stream_lag_seconds",
            "From the time of an event to the online row that holds it.",
            ["source"],
            buckets=_LAG_S,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ostinato_stream_batch_seconds",
            "Landing and applying one micro-batch.",
            ["source"],
            buckets=_LAG_S,
            registry=self.registry,
        )
        self._sizes = Histogram(
            "ostinato_stream_batch_events",
            "Events in one micro-batch.",
            ["source"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self._failures = Counter(
            "ostinato_stream_store_failures",
            "Attempts that failed because a store could not be read or written.",
            ["source"],
            registry=self.registry,
        )
        for outcome in (*OUTCOMES, "rejected"):
            self._events.labels(source, outcome)
        self._failures.labels(source)

    def applied(
        self, told: Applied, events: Iterable[StreamEvent], seconds: float, now_ms: int
    ) -> None:
        """Count a batch that is applied.

        Args:
            told: what became of it.
            events: in it.
            seconds: that it took.
            now_ms: when it was done, UTC milliseconds.
        """
        for outcome in OUTCOMES:
            self._events.labels(self._source, outcome).inc(getattr(told, outcome))
        self._noted.labels(self._source, "unknown_item").inc(told.unknown_items)
        self._noted.labels(self._source, "conflicting").inc(told.conflicting)
        self._noted.labels(self._source, "repaired").inc(told.repaired)
        self._sizes.labels(self._source).observe(told.received)
        self._seconds.labels(self._source).observe(seconds)
        lag = self._lag.labels(self._source)
        for event in events:
            lag.observe(max(now_ms - event.time, 0) / 1000)

    def rejected(self, count: int = 1) -> None:
        """Count events that were rejected."""
        self._events.labels(self._source, "rejected").inc(count)

    def failed(self) -> None:
        """Count an attempt that failed because of a store."""
        self._failures.labels(self._source).inc()

    def text(self) -> bytes:
        """Return the figures as Prometheus reads them."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))
