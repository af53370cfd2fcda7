"""What a feature store is to hold as of a moment: one table per feature view.

The sequences come from `EventLog.histories`, the same function that training and evaluation
call, asked at one moment for everybody. So what is served is what was trained on.

Every row says as of when it is true (`event_timestamp`, and `as_of` in milliseconds for stores
that round timestamps), not when its last event happened: an event that arrives late changes the
next snapshot, and that one is newer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.activity import activity
from recommender.features.behaviour import user_behaviour
from recommender.features.build import catalogue_order, history_log
from recommender.features.item_text import item_text
from recommender.features.latest import sequences, stamped
from recommender.features.prices import category_prices
from recommender.features.sequences import EventLog
from recommender.features.streaming_build import Wanted, latest_sequences
from recommender.features.text import TextVectors
from recommender.features.trends import item_trend
from recommender.features.user_social import user_social
from recommender.tables import Tables

__all__ = ["KEYS", "VIEWS", "Snapshots", "sequences", "snapshots", "up_to_now"]

VIEWS = (
    "item_text",
    "item_attributes",
    "item_trend",
    "user_profile",
    "user_social",
    "user_activity",
    "user_behaviour",
    "user_sequence",
)
"""Names of the views in the order in which they are published: sequences last, because they name
the items of the others. `user_behaviour` is made only where the configuration asks for it,
`user_social` only where the source has a follow graph."""

KEYS = {
    "item_text": "item_id",
    "item_attributes": "item_id",
    "item_trend": "item_id",
    "user_profile": "user_id",
    "user_social": "user_id",
    "user_activity": "user_id",
    "user_behaviour": "user_id",
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

    Users without an event before `as_of` have no sequence and no activity. The catalogue and the
    attributes of users carry no history: they are taken as they are.

    Args:
        tables: validated.
        config: which events make history, how many of them a sequence keeps, and in which windows
            they are counted.
        text: vectors of `catalogue_order(tables.items)`.
        as_of: UTC milliseconds.
        created: when the snapshot was made; stores break ties of `as_of` by it.

    Raises:
        FeatureError: an event names an item or a type that isn't known.
    """
    items = catalogue_order(tables.items)
    history = history_log(tables, config, event_ids=True)
    # Counting needs no ids, and texts are slow to carry along.
    counted = replace(history, event_ids=None)
    built = {
        "item_text": item_text(items, text),
        "item_attributes": _item_attributes(items),
        "item_trend": item_trend(counted, items, config, as_of),
        "user_profile": _user_profile(tables.users),
        "user_activity": activity(
            counted, config.actions, config.features.activity.windows_days, as_of
        ),
        "user_sequence": _user_sequence(history, tables.events, items, config, as_of, created),
    }
    if config.features.text.behaviour:
        built["user_behaviour"], _ = user_behaviour(history, items, config, as_of)
    if config.source.has_follows:
        built["user_social"] = user_social(tables, config, as_of)
    views = {name: stamped(built[name], as_of, created) for name in VIEWS if name in built}
    return Snapshots(as_of, views)


def _user_sequence(
    history: EventLog,
    events: pa.Table,
    items: pa.Table,
    config: Config,
    as_of: int,
    created: datetime,
) -> pa.Table:
    build = config.features.build
    if build.engine == "local":
        # The log is sorted already, for the other views.
        limit = config.features.history_limit
        kinds, surfaces = config.actions.types, config.actions.surfaces
        return sequences(history, items["item_id"], kinds, as_of, limit, surfaces)
    rows = latest_sequences(events, Wanted.by(config, items, as_of, created), build)
    return pa.Table.from_batches(rows).drop_columns(["event_timestamp", "created"])


def _item_attributes(items: pa.Table) -> pa.Table:
    # Feast can't store a null inside a list, and a category without a name says nothing.
    named = [[each for each in row or [] if each] for row in items["categories"].to_pylist()]
    return pa.table(
        {
            "item_id": items["item_id"],
            "categories": pa.array(named, pa.list_(pa.string())),
            "brand": items["brand"],
            "price": items["price"],
            "category_price": category_prices(items),
            "further": _further(items),
        }
    )


def _further(items: pa.Table) -> pa.Array:
    """Return the further numbers and vectors of items as JSON; null where there are none."""
    told: list[dict[str, dict[str, Any]]] = [{} for _ in range(items.num_rows)]
    for name in ("numbers", "vectors"):
        if name in items.column_names:
            for row, held in zip(told, items[name].to_pylist(), strict=True):
                if held:
                    row[name] = dict(held)
    texts = [json.dumps(row, sort_keys=True, ensure_ascii=False) if row else None for row in told]
    return pa.array(texts, pa.string())


def _user_profile(users: pa.Table) -> pa.Table:
    rows = (dict(row or ()) for row in users["attributes"].to_pylist())
    texts = [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows]
    return pa.table(
        {"user_id": users["user_id"], "attributes": pa.array(texts, pa.string())},
    )
