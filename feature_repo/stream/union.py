"""Batch and stream as one: canonical tables with the streamed events in them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stream.landing import Landed
from recommender.tables import EVENTS, Tables


class Union(NamedTuple):
    """Canonical tables, and what became of the landed events.

    Attributes:
        tables: with every event once, sorted by (time, event_id).
        added: landed events that the tables did not hold.
        unknown_items: landed events that had to wait, because the catalogue lacks their item;
            they are in once it comes.
        unknown_types: landed events of types that are no longer configured.
    """

    tables: Tables
    added: int
    unknown_items: int
    unknown_types: int


def with_landed(tables: Tables, landed: Landed, types: tuple[str, ...]) -> Union:
    """Add landed events to canonical tables; the tables' own copy of an event wins.

    What is built from the result is as of `landed.read_ms` or of whenever the tables were read,
    whichever is earlier: that is the watermark (`created`) of its snapshots.

    Args:
        tables: validated.
        landed: from `Landing.read`.
        types: the configured event types.
    """
    new = landed.events.select(EVENTS.names)
    new = new.filter(pc.invert(pc.is_in(new["event_id"], tables.events["event_id"])))
    typed = pc.is_in(new["event"], pa.array(types, pa.string()))
    known = pc.is_in(new["item_id"], tables.items["item_id"].combine_chunks())
    added = new.filter(pc.and_(typed, known))
    events = tables.events
    if added.num_rows:
        both = pa.concat_tables([events, added.cast(events.schema)])
        events = both.sort_by([("time", "ascending"), ("event_id", "ascending")])
    return Union(
        replace(tables, events=events, users=_with_users(tables.users, added["user_id"])),
        added.num_rows,
        pc.sum(pc.and_(typed, pc.invert(known))).as_py() or 0,
        pc.sum(pc.invert(typed)).as_py() or 0,
    )


def _with_users(users: pa.Table, seen: pa.ChunkedArray) -> pa.Table:
    """Add people that only the stream has seen; nothing else is known of them."""
    new = pc.unique(seen).filter(pc.invert(pc.is_in(pc.unique(seen), users["user_id"])))
    if not len(new):
        return users
    nothing = pa.nulls(len(new), users.schema.field("attributes").type)
    rows = pa.table([new, nothing], schema=users.schema)
    return pa.concat_tables([users, rows]).sort_by("user_id")
