"""What a model server tells Prometheus, at KServe's own `/metrics`; the names are stable.

KServe's histograms carry neither a status nor a version, so a canary's errors can't be told from
the champion's by them. Everything here carries `model_version`.

ostinato_requests_total{model_version, kind, status}       kind: predict, explain; status: ok,
                                                           invalid, unavailable, error
ostinato_request_errors_total{model_version, kind, error}  error: see `ERRORS`
ostinato_request_seconds{model_version, kind, status}      histogram: from parsing to answer
ostinato_stage_seconds{model_version, stage}               histogram: features, queue, model
ostinato_batch_size{model_version}                         histogram: asks per computation
ostinato_answers_total{model_version, fallback}            fallback: none, unknown_user, …
ostinato_feature_read_age_seconds{model_version}           histogram: of a history as it is read
ostinato_model_info{model_version, model}                  1
ostinato_served_lists_total{outcome}                       written, dropped, lost, suppressed
ostinato_served_lists_waiting                              in the queue
ostinato_feedback_total{outcome}                           counted, repeated, refused, failed,
                                                           streamed, not_streamed
ostinato_feedback_actions_total{model_version, action}     counted feedback by the version that
                                                           made the list: over answers, CTR per arm
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SHORT_SECONDS = (0.0001, 0.0002, 0.0005, *_SECONDS)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_AGES = (1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)

ERRORS = {
    "InvalidInput": ("invalid", "invalid_request"),
    "InvalidAskError": ("invalid", "invalid_request"),
    "FullError": ("unavailable", "overloaded"),
    "BusyError": ("unavailable", "closing"),
    "ModelNotReady": ("unavailable", "not_ready"),
    "TimeoutError": ("error", "timeout"),
    "CancelledError": ("unavailable", "cancelled"),
}
"""Status and kind of error by the name of what was raised; everything else is `internal`."""


class ServingMetrics:
    """The figures of one process; a version's are found by `of`.

    Args:
        registry: that they are added to.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def counter(name: str, text: str, *labels: str) -> Any:
            return Counter(f"ostinato_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Any:
            return Histogram(
                f"ostinato_{name}", text, labels, buckets=tuple(buckets), registry=registry
            )

        version = "model_version"
        self.requests = counter("requests", "Requests.", version, "kind", "status")
        self.errors = counter("request_errors", "Requests that failed.", version, "kind", "error")
        self.seconds = histogram(
            "request_seconds", "From parsing to the answer.", _SECONDS, version, "kind", "status"
        )
        self.stages = histogram(
            "stage_seconds",
            "Parts of a request: features (waiting for the store), queue, model.",
            _SHORT_SECONDS,
            version,
            "stage",
        )
        self.batches = histogram("batch_size", "Asks per computation.", _SIZES, version)
        self.answers = counter("answers", "Answers by fallback.", version, "fallback")
        self.ages = histogram(
            "feature_read_age_seconds", "Age of a history as it is read.", _AGES, version
        )
        self.info = Gauge(
            "ostinato_model_info", "The served versions.", [version, "model"], registry=registry
        )
        self._lists = counter("served_lists", "Served lists by what became of them.", "outcome")
        self.waiting = Gauge(
            "ostinato_served_lists_waiting", "Lists that wait to be written.", registry=registry
        )
        self._feedback = counter("feedback", "Feedback by what became of it.", "outcome")
        self._actions = counter(
            "feedback_actions", "Counted feedback by the version of its list.", version, "action"
        )
        for outcome in ("written", "dropped", "lost", "suppressed"):
            self._lists.labels(outcome)
        for outcome in ("counted", "repeated", "refused", "failed", "streamed", "not_streamed"):
            self._feedback.labels(outcome)

    def of(self, version: str) -> VersionMetrics:
        """Return the figures of one model version."""
        return VersionMetrics(self, version)

    def lists(self, outcome: str, count: int) -> None:
        """Count served lists."""
        self._lists.labels(outcome).inc(count)

    def feedback(self, outcome: str, count: int) -> None:
        """Count feedback."""
        self._feedback.labels(outcome).inc(count)

    def acted(self, version: str, action: str) -> None:
        """Count what somebody did with a list, for the version that made it.

        Args:
            version: of the model; whichever server is told of it.
            action: an event type.
        """
        self._actions.labels(version, action).inc()

    def watch_queue(self, waiting: Callable[[], int]) -> None:
        """Show how many lists wait, asked at every scrape."""
        self.waiting.set_function(waiting)


class VersionMetrics:
    """The figures of one model version.

    Args:
        metrics: of the process.
        version: of the model.
    """

    def __init__(self, metrics: ServingMetrics, version: str) -> None:
        self._metrics = metrics
        self._version = version
        # Looked up once: a lookup by label costs more than the counting.
        self._stages = {
            stage: metrics.stages.labels(version, stage) for stage in ("features", "queue", "model")
        }
        self._batches = metrics.batches.labels(version)
        self._ages = metrics.ages.labels(version)
        for kind in ("predict", "explain"):
            for status in ("ok", "invalid", "unavailable", "error"):
                metrics.requests.labels(version, kind, status)

    def ready(self, model: str) -> None:
        """Say that a model serves this version."""
        self._metrics.info.labels(self._version, model).set(1)

    @contextmanager
    def request(self, kind: str) -> Iterator[None]:
        """Count and time a request; what it raises goes on.

        Args:
            kind: `predict` or `explain`.
        """
        started = time.perf_counter()
        status = "ok"
        try:
            yield
        except BaseException as error:
            status, what = ERRORS.get(type(error).__name__, ("error", "internal"))
            self._metrics.errors.labels(self._version, kind, what).inc()
            raise
        finally:
            spent = time.perf_counter() - started
            self._metrics.requests.labels(self._version, kind, status).inc()
            self._metrics.seconds.labels(self._version, kind, status).observe(spent)

    def read(self, seconds: float, age_s: float | None) -> None:
        """Note that a history was read.

        Args:
            seconds: that the request waited for it.
            age_s: how old it was; None where that isn't known.
        """
        self._stages["features"].observe(seconds)
        if age_s is not None:
            self._ages.observe(max(age_s, 0.0))

    def computed(self, asks: int, waited_s: Sequence[float], took_s: float) -> None:
        """Note a computation.

        Args:
            asks: that shared it.
            waited_s: how long each request had waited for it.
            took_s: how long it took.
        """
        self._batches.observe(asks)
        self._stages["model"].observe(took_s)
        for waited in waited_s:
            self._stages["queue"].observe(waited)

    def answered(self, fallback: str | None) -> None:
        """Count an answer."""
        self._metrics.answers.labels(self._version, fallback or "none").inc()


@cache
def shared() -> ServingMetrics:
    """Return the figures of this process, in the registry that KServe shows."""
    from prometheus_client import REGISTRY

    return ServingMetrics(REGISTRY)
