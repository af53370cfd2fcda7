"""A small sound shop as canonical tables, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from recommender.config import Config, parse
from recommender.tables import EVENTS, ITEMS, USERS, Tables, relaxed

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 12, 31, tzinfo=UTC)
Row = dict[str, Any]


def settings(**more: Any) -> Config:
    """A configuration for the shop; `quality=…`, `split=…` and the like override it."""
    tree: Row = {
        "name": "shop",
        "source": {"kind": "synthetic"},
        "actions": {"types": ["view", "rate"], "history": ["view", "rate"]},
        # The shop is small on purpose.
        "quality": {"log": {"users": {"warn": 20, "fail": 2}, "events": {"warn": 100, "fail": 10}}},
    }
    _merge(tree, more)
    return parse(tree, "the test's configuration")


def _merge(tree: Row, more: Row) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def shop(users: int = 40, items: int = 30, events: int = 600) -> Tables:
    """Sound tables: an event every hour, ids in the order of time."""
    random = np.random.default_rng(3)
    log = [
        {
            "event_id": f"e{row:06d}",
            "user_id": f"u{random.integers(users)}",
            "item_id": f"i{min(int(random.geometric(0.1)), items) - 1}",
            "event": "rate" if row % 3 == 0 else "view",
            "time": START + timedelta(hours=row),
            "value": float(random.integers(1, 6)) if row % 3 == 0 else None,
            "surface": "home" if row % 2 else "search",
            "position": int(random.integers(10)),
            "propensity": 0.1,
        }
        for row in range(events)
    ]
    catalogue = [
        {
            "item_id": f"i{row}",
            "title": f"thing number {row}",
            "text": "x" * (row + 1),
            "categories": ["even" if row % 2 == 0 else "odd"],
            "brand": "acme",
            "price": 10.0 + row,
            "created": None,
        }
        for row in range(items)
    ]
    people = [{"user_id": f"u{row}", "attributes": [("plan", "free")]} for row in range(users)]
    return of_rows(log, catalogue, people)


def of_rows(events: list[Row], items: list[Row], users: list[Row]) -> Tables:
    return Tables(
        pa.Table.from_pylist(events, relaxed(EVENTS)),
        pa.Table.from_pylist(items, relaxed(ITEMS)),
        pa.Table.from_pylist(users, relaxed(USERS)),
    )


def rows_of(tables: Tables) -> tuple[list[Row], list[Row], list[Row]]:
    return tables.events.to_pylist(), tables.items.to_pylist(), tables.users.to_pylist()


def spoiled(tables: Tables, change: Callable[[list[Row], list[Row], list[Row]], object]) -> Tables:
    """Return the tables after `change` has edited their rows in place."""
    events, items, users = rows_of(tables)
    change(events, items, users)
    return of_rows(events, items, users)
