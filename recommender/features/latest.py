"""Everybody's history as of one moment, as the rows of an online store."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.features.sequences import EventLog


def sequences(
    log: EventLog,
    item_ids: pa.ChunkedArray,
    types: tuple[str, ...],
    as_of: int,
    limit: int,
    surfaces: tuple[str, ...] = (),
) -> pa.Table:
    """Return everybody's history as of a moment.

    Args:
        log: of the events that make up histories, with their ids.
        item_ids: of the catalogue, in its order.
        types: event types; the position of one is its code − 1.
        as_of: UTC milliseconds.
        limit: most recent events kept.
        surfaces: those that are told apart; the position of one is its code − 1.

    Returns:
        One row per user who has a history: `user_id`, the parallel lists `item_ids`, `actions`,
        `times` (UTC milliseconds), `values` (NaN where the event carried none), `event_ids` and
        `arrivals` (0: came by batch, not by stream), oldest first, and `as_of`; where surfaces are
        told apart `surfaces`, too, empty for any other one.

    Raises:
        ValueError: the log doesn't carry the ids of its events.
    """
    everybody = np.arange(len(log.users), dtype=np.int64)
    histories = log.histories(everybody, np.full(len(everybody), as_of, np.int64), limit)
    if histories.event_ids is None:
        raise ValueError("build the log with event_ids=True")
    seen = histories.lengths > 0
    # Users without a history take no room in the flat arrays: dropping their rows is enough.
    offsets = np.concatenate([[0], np.cumsum(histories.lengths[seen])])
    ids = item_ids.combine_chunks() if isinstance(item_ids, pa.ChunkedArray) else item_ids
    columns = {
        "item_ids": ids.take(pa.array(histories.items)),
        "actions": pa.array(types, pa.string()).take(pa.array(histories.actions - 1)),
        "times": pa.array(histories.times, pa.int64()),
        "values": pa.array(histories.values, pa.float32()),
        "event_ids": histories.event_ids.cast(pa.string()),
        "arrivals": pa.array(np.zeros(len(histories.times), np.int64)),
    }
    if surfaces and histories.surfaces is not None:
        columns["surfaces"] = pa.array(["", *surfaces]).take(pa.array(histories.surfaces))
    users = np.array(log.users, object)[seen]
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            **{name: lists(offsets, flat) for name, flat in columns.items()},
            "as_of": pa.array(np.full(len(users), as_of, np.int64)),
        }
    )


def lists(offsets: NDArray[np.int64], flat: pa.Array) -> pa.ListArray:
    """Return lists over a flat array: list i is `flat[offsets[i]:offsets[i + 1]]`."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def stamped(table: pa.Table, as_of: int, created: datetime) -> pa.Table:
    """Return rows with the two times by which stores tell old from new.

    Args:
        table: rows of a view.
        as_of: as of when they are true, UTC milliseconds (`event_timestamp`).
        created: when they were made; stores break ties of `as_of` by it.
    """
    kind = pa.timestamp("us", tz="UTC")
    rows = table.num_rows
    moment = pa.array(np.full(rows, as_of * 1000), pa.int64()).cast(kind)
    return table.append_column("event_timestamp", moment).append_column(
        "created", pa.array([created] * rows, kind)
    )
