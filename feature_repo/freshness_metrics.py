"""How fresh features are, as Prometheus reads it; worked out at every scrape.

ostinato_feature_age_seconds{project, view}        since the view last changed
ostinato_feature_lag_seconds{project, view}        since the newest event in it
ostinato_feature_rows{project, view}               in its last publication
ostinato_feature_age_limit_seconds{project, view}  features.freshness.max_age_hours, where set
ostinato_feature_lag_limit_seconds{project, view}  features.freshness.max_lag_hours, where set
ostinato_feature_stale{project, view}              1 where a limit is passed
ostinato_feature_freshness_known{project}          0 where the records could not be read
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from feature_repo.freshness import Place, now_ms, read
from recommender.config.freshness import FreshnessConfig
from recommender.errors import UserError
from recommender.features.freshness import Freshness, too_old

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

logger = logging.getLogger(__name__)

_GAUGES = {
    "age_seconds": "Seconds since the view was published, or last changed by a streamed event.",
    "lag_seconds": "Seconds since the newest event in the view.",
    "rows": "Rows of the view in its last publication.",
    "age_limit_seconds": "Age at which training and serving refuse the view.",
    "lag_limit_seconds": "Lag at which training and serving refuse the view.",
    "stale": "1 where the view is past a limit, 0 where it keeps them.",
}


class FreshnessCollector:
    """Reads the records of one project at every scrape.

    Args:
        place: where they are kept.
        project: Feast project; a label.
        limits: of the configuration.
    """

    def __init__(self, place: Place, project: str, limits: FreshnessConfig) -> None:
        self._place = place
        self._project = project
        self._limits = limits

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges; a record that can't be read is a gauge too, never a failed scrape."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            found: dict[str, Freshness] = read(self._place)
            known = 1.0 if found else 0.0
        except UserError as error:
            logger.warning("freshness can't be told: %s", error.message)
            found, known = {}, 0.0
        names = ["project", "view"]
        gauges = {
            name: GaugeMetricFamily(f"ostinato_feature_{name}", text, labels=names)
            for name, text in _GAUGES.items()
        }
        now = now_ms()
        for view, record in sorted(found.items()):
            limit = self._limits.of(view)
            stale = too_old(found, [view], self._limits, now)
            figures = {
                "age_seconds": record.age_s(now),
                "lag_seconds": record.lag_s(now),
                "rows": float(record.rows),
                "age_limit_seconds": _seconds(limit.max_age_hours),
                "lag_limit_seconds": _seconds(limit.max_lag_hours),
                "stale": float(bool(stale)),
            }
            for name, value in figures.items():
                if value is not None:
                    gauges[name].add_metric([self._project, view], value)
        yield from gauges.values()
        readable = GaugeMetricFamily(
            "ostinato_feature_freshness_known",
            "0 where no record of freshness could be read.",
            labels=["project"],
        )
        readable.add_metric([self._project], known)
        yield readable

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield nothing: registering must not read the store."""
        yield from ()


def register(
    place: Place, project: str, limits: FreshnessConfig, registry: CollectorRegistry | None = None
) -> None:
    """Add the gauges of a project to a registry; by default the one that model servers show.

    Args:
        place: where the records are kept.
        project: Feast project.
        limits: of the configuration.
        registry: of Prometheus' client.
    """
    from prometheus_client import REGISTRY

    (registry or REGISTRY).register(FreshnessCollector(place, project, limits))


def exposition(place: Place, project: str, limits: FreshnessConfig) -> str:
    """Return the gauges of one project as Prometheus' text."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    register(place, project, limits, registry)
    return bytes(generate_latest(registry)).decode()


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else hours * 3600
