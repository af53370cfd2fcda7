"""What a feature store is to hold as of a moment: one table per feature view.

The sequences come from `EventLog.histories`, the same function that training and evaluation
call, asked at one moment for everybody. So what is served is what was trained on.

Every row says as of when it is true (`event_timestamp`, and `as_of` in milliseconds for stores
that round timestamps), not when its last event happened: an event that arrives late changes the
next snapshot, and that one is newer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.build import catalogue_order, history_log
from recommender.features.sequences import EventLog
from recommender.features.text import TextVectors
from recommender.tables import Tables

VIEWS = ("item_text", "item_attributes", "user_profile", "user_sequence")
"""Names of the views in the order in which they are published: sequences last, because they name
the items of the others."""

KEYS = {
    "item_text": "item_id",
    "item_attributes": "item_id",
    "user_profile": "user_id",
    "user_sequence": "user_id",
}
"""What a row of each view is about."""


@dataclass(frozen=True)
class Snapshots:
    """One table per view, all as of the same moment.

    Attributes:
        as_of: the moment, UTC milliseconds; no event at or after it has left a trace.
        tables: by view.
    """

    as_of: int
    tables: dict[str, pa.Table]


def up_to_now(tables: Tables) -> int:
    """Return the moment just after the last event: as of then, everything is seen.

    Raises:
        FeatureError: there are no events.
    """
    latest = pc.max(tables.events["time"].cast(pa.int64())).as_py()
    if latest is None:
        raise FeatureError("there are no events, so there is no moment to take features as of")
    return int(latest) + 1


def snapshots(
    tables: Tables, config: Config, text: TextVectors, as_of: int, created: datetime
) -> Snapshots:
    """Build every view as of a moment.

    Users without an event before `as_of` have no sequence. The catalogue and the attributes of
    users carry no history: they are taken as they are.

    Args:
        tables: validated.
        config: which events make history, and how many of them a sequence keeps.
        text: vectors of `catalogue_order(tables.items)`.
        as_of: UTC milliseconds.
        created: when the snapshot was made; stores break ties of `as_of` by it.

    Raises:
        FeatureError: an event names an item or a type that isn't known.
    """
    items = catalogue_order(tables.items)
    built = {
        "item_text": _item_text(items, text),
        "item_attributes": _item_attributes(items),
        "user_profile": _user_profile(tables.users),
        "user_sequence": sequences(
            history_log(tables, config, event_ids=True),
            items["item_id"],
            config.actions.types,
            as_of,
            config.features.history_limit,
        ),
    }
    return Snapshots(as_of, {name: _stamped(built[name], as_of, created) for name in VIEWS})


def sequences(
    log: EventLog, item_ids: pa.ChunkedArray, types: tuple[str, ...], as_of: int, limit: int
) -> pa.Table:
    """Return everybody's history as of a moment.

    Args:
        log: of the events that make up histories, with their ids.
        item_ids: of the catalogue, in its order.
        types: event types; the position of one is its code − 1.
        as_of: UTC milliseconds.
        limit: most recent events kept.

    Returns:
        One row per user who has a history: `user_id`, the parallel lists `item_ids`, `actions`,
        `times` (UTC milliseconds), `values` (NaN where the event carried none), `event_ids` and
        `arrivals` (0: came by batch, not by stream), oldest first, and `as_of`.

    Raises:
        ValueError: the log doesn't carry the ids of its events.
    """
    if log.event_ids is None:
        raise ValueError("build the log with event_ids=True")
    everybody = np.arange(len(log.users), dtype=np.int64)
    histories = log.histories(everybody, np.full(len(everybody), as_of, np.int64), limit)
    seen = histories.lengths > 0
    # Users without a history take no room in the flat arrays: dropping their rows is enough.
    offsets = np.concatenate([[0], np.cumsum(histories.lengths[seen])])
    ids = item_ids.combine_chunks() if isinstance(item_ids, pa.ChunkedArray) else item_ids
    columns = {
        "item_ids": ids.take(pa.array(histories.items)),
        "actions": pa.array(types, pa.string()).take(pa.array(histories.actions - 1)),
        "times": pa.array(histories.times, pa.int64()),
        "values": pa.array(histories.values, pa.float32()),
        "event_ids": histories.event_ids,
        "arrivals": pa.array(np.zeros(len(histories.times), np.int64)),
    }
    users = np.array(log.users, object)[seen]
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            **{name: _lists(offsets, flat) for name, flat in columns.items()},
            "as_of": pa.array(np.full(len(users), as_of, np.int64)),
        }
    )


def _item_text(items: pa.Table, text: TextVectors) -> pa.Table:
    width = text.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(text.vectors).reshape(-1))
    return pa.table(
        {
            "item_id": items["item_id"],
            "title": items["title"],
            "text": pa.array(text.texts, pa.string()),
            "vector": _lists(np.arange(len(text.vectors) + 1) * width, flat),
            "encoder": pa.array([text.encoder] * items.num_rows, pa.string()),
            "content_hash": pa.array(text.hashes, pa.string()),
        }
    )


def _item_attributes(items: pa.Table) -> pa.Table:
    # Feast can't store a null inside a list, and a category without a name says nothing.
    named = [[each for each in row or [] if each] for row in items["categories"].to_pylist()]
    return pa.table(
        {
            "item_id": items["item_id"],
            "categories": pa.array(named, pa.list_(pa.string())),
            "brand": items["brand"],
            "price": items["price"],
        }
    )


def _user_profile(users: pa.Table) -> pa.Table:
    rows = (dict(row or ()) for row in users["attributes"].to_pylist())
    texts = [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows]
    return pa.table(
        {"user_id": users["user_id"], "attributes": pa.array(texts, pa.string())},
    )


def _lists(offsets: NDArray[np.int64], flat: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def _stamped(table: pa.Table, as_of: int, created: datetime) -> pa.Table:
    kind = pa.timestamp("us", tz="UTC")
    rows = table.num_rows
    moment = pa.array(np.full(rows, as_of * 1000), pa.int64()).cast(kind)
    return table.append_column("event_timestamp", moment).append_column(
        "created", pa.array([created] * rows, kind)
    )
