"""Rows of a small `user_sequence`, as batches and by their moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

VIEW, KEY = "user_sequence", "user_id"
KINDS = {"item_ids": "string_list", "times": "int64_list", "as_of": "int64"}


def at(ms: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def batch(rows: dict[str, list[str] | None], event: int, created: int) -> pa.RecordBatch:
    count = len(rows)
    moments = pa.timestamp("us", tz="UTC")
    return pa.record_batch(
        {
            KEY: pa.array(list(rows), pa.string()),
            "item_ids": pa.array(list(rows.values()), pa.list_(pa.string())),
            "times": pa.array([[event]] * count, pa.list_(pa.int64())),
            "as_of": pa.array([event] * count, pa.int64()),
            "event_timestamp": pa.array([at(event)] * count, moments),
            "created": pa.array([at(created)] * count, moments),
        }
    )


def items(store: Any, *ids: str) -> list[list[str] | None]:
    rows = store.rows(VIEW, KEY, ids, ["item_ids"])
    return [None if row is None else row["item_ids"] for row in rows]


def appending(item: str, event: int, created: int | None = None):
    """A change that appends an item."""

    def change(row: dict[str, Any] | None) -> dict[str, Any]:
        held = [] if row is None else row["item_ids"] or []
        made = {
            "item_ids": [*held, item],
            "times": [],
            "as_of": event,
            "event_timestamp": at(event),
        }
        return made if created is None else {**made, "created": at(created)}

    return change
