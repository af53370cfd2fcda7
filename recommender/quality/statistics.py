"""What is remembered of an accepted version, so that the next one can be compared with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.actions import ActionsConfig
from recommender.quality.columns import milliseconds, numbers
from recommender.tables import Tables

MOST_ITEMS = 5000
"""Items whose popularity is remembered one by one; the others are counted together."""


@dataclass(frozen=True)
class Statistics:
    """Figures of one data version's clean tables.

    Attributes:
        events: rows of all types.
        history_events: rows of the history types; the next figures are about these.
        users: with such rows.
        items: with such rows.
        distinct_times: of such rows.
        first_time, last_time: of such rows, UTC milliseconds (0 without rows).
        largest_gap: longest time between two such rows, as a share of the log's length.
        catalogue: rows of the item table.
        event_mix: rows by type.
        popularity: rows of the history types by item, the `MOST_ITEMS` most frequent.
        other_items: rows of the history types of all other items.
        value_count, value_mean, value_std: of the values that are there.
    """

    events: int
    history_events: int
    users: int
    items: int
    distinct_times: int
    first_time: int
    last_time: int
    largest_gap: float
    catalogue: int
    event_mix: dict[str, int]
    popularity: dict[str, int]
    other_items: int
    value_count: int
    value_mean: float
    value_std: float

    @classmethod
    def of(cls, tables: Tables, actions: ActionsConfig) -> Statistics:
        """Take the figures of clean tables."""
        events = tables.events
        history = events.filter(
            pc.is_in(events["event"], value_set=pa.array(list(actions.histories), pa.string()))
        )
        times = np.unique(milliseconds(history["time"]))
        span = int(times[-1] - times[0]) if len(times) else 0
        counts = _counts(history["item_id"])
        values = numbers(events["value"])
        values = values[np.isfinite(values)]
        return cls(
            events=events.num_rows,
            history_events=history.num_rows,
            users=pc.count_distinct(history["user_id"]).as_py(),
            items=len(counts),
            distinct_times=len(times),
            first_time=int(times[0]) if len(times) else 0,
            last_time=int(times[-1]) if len(times) else 0,
            largest_gap=float(np.diff(times).max() / span) if span else 0.0,
            catalogue=tables.items.num_rows,
            event_mix=dict(_counts(events["event"])),
            popularity=dict(counts[:MOST_ITEMS]),
            other_items=sum(count for _, count in counts[MOST_ITEMS:]),
            value_count=len(values),
            value_mean=float(values.mean()) if len(values) else 0.0,
            value_std=float(values.std()) if len(values) else 0.0,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


def _counts(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Return (value, rows), the most frequent first, equals by value."""
    pairs = column.value_counts()
    values = pairs.field("values").to_pylist()
    rows = pairs.field("counts").to_pylist()
    return sorted(zip(values, rows, strict=True), key=lambda pair: (-pair[1], pair[0]))
