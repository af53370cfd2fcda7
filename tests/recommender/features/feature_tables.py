"""Snapshots by hand: sound ones, to be broken one way at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

AS_OF = 1_000_000
KEYS = {
    "user_sequence": "user_id",
    "user_activity": "user_id",
    "user_profile": "user_id",
    "item_text": "item_id",
    "item_attributes": "item_id",
    "item_trend": "item_id",
    "user_behaviour": "user_id",
}


def user_sequence(rows: int = 4, lengths=None) -> pa.Table:
    lengths = list(lengths) if lengths is not None else [2 + n % 3 for n in range(rows)]
    times = [[1000 * (n + 1) for n in range(size)] for size in lengths]
    return pa.table(
        {
            "user_id": [f"user {n}" for n in range(len(lengths))],
            "item_ids": pa.array([["a"] * size for size in lengths], pa.list_(pa.string())),
            "actions": pa.array([["click"] * size for size in lengths], pa.list_(pa.string())),
            "times": pa.array(times, pa.list_(pa.int64())),
            "values": pa.array([[float("nan")] * size for size in lengths], pa.list_(pa.float32())),
            "as_of": pa.array([AS_OF] * len(lengths), pa.int64()),
        }
    )


def user_activity(rows: int = 4) -> pa.Table:
    n = np.arange(rows)
    return pa.table(
        {
            "user_id": [f"user {each}" for each in n],
            "as_of": pa.array([AS_OF] * rows, pa.int64()),
            "events_total": n + 9,
            "events_1d": n % 2,
            "events_7d": n % 2 + 1,
            "events_30d": n % 2 + 2,
            "events_90d": n + 5,
            "distinct_items_90d": n + 1,
            "active_days_90d": n + 1,
            "successes_90d": n % 2,
            "last_event_ms": pa.array([AS_OF - 1] * rows, pa.int64()),
            "days_since_last": np.full(rows, 0.5),
        }
    )


def item_text(rows: int = 4, width: int = 8, **columns: Any) -> pa.Table:
    vectors = np.random.default_rng(3).normal(size=(rows, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    given = {
        "item_id": [f"item {n}" for n in range(rows)],
        "title": [f"thing {n}" for n in range(rows)],
        "text": [f"thing {n}, soft" for n in range(rows)],
        "vector": pa.array(list(vectors), pa.list_(pa.float32())),
        "encoder": ["mini@1"] * rows,
        "content_hash": [f"hash {n}" for n in range(rows)],
    }
    return pa.table({**given, **columns})


def item_attributes(prices: list[float | None]) -> pa.Table:
    rows = len(prices)
    return pa.table(
        {
            "item_id": [f"item {n}" for n in range(rows)],
            "categories": pa.array([["toys"]] * rows, pa.list_(pa.string())),
            "brand": pa.array([None, *["acme"] * (rows - 1)], pa.string()),
            "price": pa.array(prices, pa.float64()),
        }
    )


def item_trend(rows: int = 4, **columns: Any) -> pa.Table:
    given = {
        "item_id": [f"item {n}" for n in range(rows)],
        "as_of": pa.array([AS_OF] * rows, pa.int64()),
        **{name: np.linspace(0.5, 2.5, rows) for name in ("level", "slope", "season", "forecast")},
        "method": ["arima"] * rows,
        "period_ms": pa.array([86_400_000] * rows, pa.int64()),
    }
    return pa.table({**given, **columns})


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    kind = table.schema.field(name).type
    return table.set_column(
        table.column_names.index(name), name, pa.chunked_array([pa.array(values, kind)])
    )


def sound() -> dict[str, pa.Table]:
    return {
        "item_text": item_text(),
        "item_attributes": item_attributes([None, 2.0, 3.5, float("nan")]),
        "item_trend": item_trend(),
        "user_activity": user_activity(),
        "user_sequence": user_sequence(),
    }
