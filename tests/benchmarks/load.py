"""The synthetic load of the feature benchmarks: 100 k users × 50 events, 20 k items × 384-d."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.tables import EVENTS, ITEMS, USERS, Tables

USERS_COUNT, EVENTS_EACH, ITEMS_COUNT, WIDTH = 100_000, 50, 20_000, 384
START_MS = 1_600_000_000_000
DAY_MS = 86_400_000


def tables(users: int = USERS_COUNT, each: int = EVENTS_EACH, items: int = ITEMS_COUNT) -> Tables:
    """Return canonical tables: `each` events of every user, over 90 days, sorted by (time, id)."""
    rng = np.random.default_rng(7)
    total = users * each
    time = START_MS + np.sort(rng.integers(0, 90 * DAY_MS, total))
    kinds = pa.array(["view", "purchase"])
    events = pa.table(
        {
            "event_id": pa.array([f"e{i:09d}" for i in range(total)]),
            "user_id": _named("u", users).take(pa.array(rng.permutation(total) % users)),
            "item_id": _named("i", items).take(pa.array(_zipf(rng, items, total))),
            "event": kinds.take(pa.array((rng.random(total) < 0.1).astype(np.int8))),
            "time": pa.array(time).cast(pa.timestamp("ms", tz="UTC")),
            "value": pa.nulls(total, pa.float64()),
            "surface": pa.nulls(total, pa.string()),
            "position": pa.nulls(total, pa.int32()),
            "propensity": pa.nulls(total, pa.float64()),
        },
        schema=EVENTS,
    )
    catalogue = pa.table(
        {
            "item_id": _named("i", items),
            "title": pa.array([f"Item number {i}" for i in range(items)]),
            "text": pa.nulls(items, pa.string()),
            "categories": pa.array([[f"category {i % 50}"] for i in range(items)]),
            "brand": pa.array([f"brand {i % 200}" for i in range(items)]),
            "price": pa.array(rng.lognormal(3, 1, items)),
            "created": pa.nulls(items, pa.timestamp("ms", tz="UTC")),
        },
        schema=ITEMS,
    )
    people = pa.table(
        {
            "user_id": _named("u", users),
            "attributes": pa.array([[]] * users, pa.map_(pa.string(), pa.string())),
        },
        schema=USERS,
    )
    return Tables(events, catalogue, people)


def vectors(items: int = ITEMS_COUNT, width: int = WIDTH) -> NDArray[np.float32]:
    """Return item vectors of length 1, (items, width)."""
    made = np.random.default_rng(8).standard_normal((items, width)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def _named(letter: str, count: int) -> pa.Array:
    return pa.array([f"{letter}{i:07d}" for i in range(count)])


def _zipf(rng: np.random.Generator, items: int, total: int) -> NDArray[np.int64]:
    weight = 1 / np.arange(1, items + 1) ** 0.8
    return rng.choice(items, total, p=weight / weight.sum())
