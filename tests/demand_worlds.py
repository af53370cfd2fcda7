"""Small logs and catalogues for the tests of demand and its trends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from tables_by_hand import Event, event_table, item_table

from recommender.config import Config, parse
from recommender.features.build import catalogue_order
from recommender.features.sequences import Catalogue, EventLog

HOUR, DAY, WEEK = 3_600_000, 86_400_000, 604_800_000
MONDAY = 4 * DAY + 2000 * WEEK
"""A Monday, 00:00 UTC."""


def config_of(evaluation: Mapping[str, Any] | None = None, **trends: Any) -> Config:
    return parse(
        {
            "name": "demand",
            "source": {"kind": "synthetic"},
            "actions": {
                "types": ["view", "click", "buy"],
                "history": ["click", "buy"],
                "success": ["buy"],
                "exclude_seen": False,
            },
            "features": {"trends": trends},
            "evaluation": {"resamples": 200, **(evaluation or {})},
        },
        "test",
    )


def world(
    events: Sequence[Event], items: Sequence[str | dict[str, Any]], config: Config
) -> tuple[EventLog, pa.Table]:
    table = catalogue_order(item_table(items))
    catalogue = Catalogue(tuple(table["item_id"].to_pylist()))
    return EventLog.build(event_table(events), catalogue, config.actions), table


def bought(counts: Mapping[str, Sequence[int]], first: int = MONDAY, period: int = DAY) -> list:
    """Events such that each item is bought so often in each period."""
    return [
        (f"u{n}", item, "buy", first + place * period + n)
        for item, row in counts.items()
        for place, count in enumerate(row)
        for n in range(int(count))
    ]


def weekly(periods: int, scale: float = 10.0, seed: int = 0) -> np.ndarray:
    """Counts with a strong week: busy, quiet, closed on the last day."""
    pattern = np.array([1.0, 1.2, 1.5, 1.2, 2.0, 0.8, 0.0])
    noise = np.random.default_rng(seed).normal(1, 0.05, periods)
    return np.maximum(np.round(scale * np.resize(pattern, periods) * noise), 0).astype(int)
