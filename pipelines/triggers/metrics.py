"""What the door for triggers tells Prometheus; worked out at every scrape.

ostinato_triggered_runs{state}                        runs in the book, by state
ostinato_triggered_run_last_timestamp_seconds{state}  when the last of them ended (began)
                                                      SUCCEEDED, before the first: see below
ostinato_trigger_causes_waiting                       causes that no run has taken up
ostinato_drift{figure}                                at the last look, as it was compared
ostinato_drift_limit{figure}                          `triggers.drift`, where it is looked at
ostinato_drift_looked_timestamp_seconds               when that was; before the first: see below

Alerts look at ages, and what isn't there has none: until something happens for the first time, its
moment is when the book was begun. All of it is in the book, so a restart forgets nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipelines.triggers.book import Book

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

Figures = Mapping[str, tuple[float | None, float | None]]
"""Figures of drift with their limits by name; None: not known, or not looked at."""


class TriggerMetrics:
    """The figures of one data set's triggers.

    Args:
        book: of causes and runs.
    """

    def __init__(self, book: Book) -> None:
        self._book = book

    def drifted(self, figures: Figures) -> None:
        """Keep what a look at the data has found."""
        self._book.keep("drift", json.dumps(dict(figures)), time.time())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        from prometheus_client.core import GaugeMetricFamily

        runs = GaugeMetricFamily("ostinato_triggered_runs", "Runs by state.", labels=["state"])
        last = GaugeMetricFamily(
            "ostinato_triggered_run_last_timestamp_seconds",
            "When the last run of a state ended, or began if it goes on.",
            labels=["state"],
        )
        begun = self._book.begun()
        for state, (count, moment) in ({"SUCCEEDED": (0, begun)} | self._book.ends()).items():
            runs.add_metric([state], count)
            last.add_metric([state], moment)
        yield from (runs, last)
        yield GaugeMetricFamily(
            "ostinato_trigger_causes_waiting",
            "Causes that no run has taken up yet.",
            value=len(self._book.waiting()),
        )
        drift = GaugeMetricFamily("ostinato_drift", "Drift at the last look.", labels=["figure"])
        limit = GaugeMetricFamily(
            "ostinato_drift_limit", "Drift that starts a run.", labels=["figure"]
        )
        told, looked = self._book.kept("drift") or ("{}", begun)
        for name, (value, most) in json.loads(told).items():
            for family, figure in ((drift, value), (limit, most)):
                if figure is not None:
                    family.add_metric([name], figure)
        yield from (drift, limit)
        yield GaugeMetricFamily(
            "ostinato_drift_looked_timestamp_seconds",
            "When data were last compared.",
            value=looked,
        )

    def text(self) -> str:
        """Return the gauges as Prometheus reads them."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry)).decode()
