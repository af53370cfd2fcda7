"""What the tests of streams share: a moment, the columns of a sequence, an event as JSON has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_repo.stores.online_store import OnlineStore

NOW = 1_700_000_000_000
KINDS = {
    "item_ids": "string_list",
    "actions": "string_list",
    "times": "int64_list",
    "values": "float_list",
    "event_ids": "string_list",
    "arrivals": "int64_list",
    "as_of": "int64",
}


def given(event_id: str = "e1", **fields: Any) -> dict[str, Any]:
    """An event as JSON has it."""
    return {
        "event_id": event_id,
        "user_id": "u1",
        "item_id": "a",
        "event": "click",
        "time": NOW,
        **fields,
    }


def open_store(place: str) -> OnlineStore:
    """A store by its place: a path, or a Redis connection."""
    if ":" not in place:
        from feature_repo.stores.sqlite import SqliteStore

        return SqliteStore(Path(place), "shop")
    from feature_repo.stores.redis import RedisStore

    return RedisStore(place, "shop")
