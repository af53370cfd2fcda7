"""Small canonical tables, written by hand in tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from recommender.config import Config, parse
from recommender.tables import EVENTS, FOLLOWS, ITEMS, USERS, Tables

ACTIONS = {
    "types": ["impression", "click", "purchase"],
    "history": ["click", "purchase"],
    "success": ["purchase"],
}

Event = tuple[Any, ...]
"""(user, item, event, time in ms[, value[, event id]])"""


def event_table(events: Iterable[Event]) -> pa.Table:
    rows = [(*event, *(None, None)[len(event) - 4 :]) for event in events]
    return pa.table(
        {
            "event_id": [row[5] or f"e{n:06}" for n, row in enumerate(rows)],
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "event": [row[2] for row in rows],
            "time": pa.array([row[3] for row in rows], pa.int64()).cast(EVENTS.field("time").type),
            "value": pa.array([row[4] for row in rows], pa.float64()),
            "surface": pa.nulls(len(rows), pa.string()),
            "position": pa.nulls(len(rows), pa.int32()),
            "propensity": pa.nulls(len(rows), pa.float64()),
        },
    ).cast(EVENTS)


def item_table(items: Iterable[str | dict[str, Any]]) -> pa.Table:
    rows = [
        {"item_id": item, "title": f"thing {item}"} if isinstance(item, str) else item
        for item in items
    ]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in ITEMS.names} for row in rows], ITEMS
    )


def user_table(users: dict[str, dict[str, str] | None]) -> pa.Table:
    rows = [
        {"user_id": user, "attributes": known and list(known.items())}
        for user, known in users.items()
    ]
    return pa.Table.from_pylist(rows, USERS)


def follow_table(edges: Iterable[tuple[str | None, str | None, int | None]]) -> pa.Table:
    """Edges: (user, followed user, since in ms)."""
    rows = list(edges)
    since = pa.array([row[2] for row in rows], pa.int64()).cast(FOLLOWS.field("since").type)
    return pa.table(
        {
            "user_id": pa.array([row[0] for row in rows], pa.string()),
            "followed_user_id": pa.array([row[1] for row in rows], pa.string()),
            "since": since,
        }
    )


def tables(
    events: Sequence[Event],
    items: Iterable[str | dict[str, Any]] | None = None,
    users: dict[str, dict[str, str] | None] | None = None,
) -> Tables:
    """Items and users default to those that the events name."""
    if items is None:
        items = sorted({event[1] for event in events})
    if users is None:
        users = {user: {} for user in sorted({event[0] for event in events})}
    return Tables(event_table(events), item_table(items), user_table(users))


def configuration(workspace: Path, **sections: Any) -> Config:
    tree: dict[str, Any] = {
        "name": "by-hand",
        "workspace": str(workspace),
        "source": {"kind": "synthetic"},
        "actions": ACTIONS,
        "features": {"text": {"threads": 1}},
        **sections,
    }
    return parse(tree, "the test's configuration")
