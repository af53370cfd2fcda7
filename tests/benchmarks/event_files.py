"""Logs of any size as Parquet files, made part by part: 50 events a user, 20 k items, 90 days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from load import DAY_MS, EVENTS_EACH, ITEMS_COUNT, START_MS

from recommender.tables import EVENTS, ITEMS

_PART = 1_000_000


def write_log(events: int, path: Path) -> int:
    """Write a log in the order of time; return the moment just after its last event."""
    rng = np.random.default_rng(13)
    users = _named("u", max(1, events // EVENTS_EACH), 9)
    items = _named("i", ITEMS_COUNT, 7)
    weight = 1 / np.arange(1, ITEMS_COUNT + 1) ** 0.8
    cumulative = np.cumsum(weight / weight.sum())
    kinds = pa.array(["view", "purchase"])
    with pq.ParquetWriter(path, EVENTS, compression="zstd") as writer:
        for first in range(0, events, _PART):
            count = min(_PART, events - first)
            span = (first, first + count)
            low, high = (START_MS + 90 * DAY_MS * each // events for each in span)
            names = pc.cast(pa.array(np.arange(*span)), pa.string())
            taken = np.searchsorted(cumulative, rng.random(count)).clip(max=ITEMS_COUNT - 1)
            columns = {
                "event_id": pc.binary_join_element_wise("e", pc.utf8_lpad(names, 10, "0"), ""),
                "user_id": users.take(pa.array(rng.integers(0, len(users), count))),
                "item_id": items.take(pa.array(taken)),
                "event": kinds.take(pa.array((rng.random(count) < 0.1).astype(np.int8))),
                "time": pa.array(np.sort(rng.integers(low, max(high, low + 1), count))),
                "value": pa.nulls(count, pa.float64()),
                "surface": pa.nulls(count, pa.string()),
                "position": pa.nulls(count, pa.int32()),
                "propensity": pa.nulls(count, pa.float64()),
            }
            writer.write_table(pa.table(columns).cast(EVENTS))
    return START_MS + 90 * DAY_MS + 1


def catalogue() -> pa.Table:
    """Return the canonical items."""
    rows = [{"item_id": item} for item in _named("i", ITEMS_COUNT, 7).to_pylist()]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in ITEMS.names} for row in rows], ITEMS
    )


def _named(letter: str, count: int, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pc.cast(pa.array(np.arange(count)), pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")
