"""The deterministic repair of the canonical tables, after they have been judged.

Rows that can't be used are removed, values that can't be true are set to missing, missing values
are dealt with by policy, and what comes out fits the strict canonical schemas. Cleaning what is
clean changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config import Config
from recommender.errors import ConfigError, TrainingError
from recommender.quality import defects
from recommender.quality.columns import (
    Bools,
    among,
    milliseconds,
    missing,
    normalised,
    replace,
)
from recommender.quality.imputation import Imputed, dropped, fill_events, fill_items
from recommender.split import cut
from recommender.tables import EVENTS, FOLLOWS, USERS, Tables, schema_of


@dataclass(frozen=True)
class Cleaned:
    """Sound tables, and what was done to get them.

    Attributes:
        tables: in the strict canonical schemas, events sorted by (time, event id).
        removed: rows by table and reason; a row is counted under its first reason.
        blanked: values set to missing because they can't be true, by column and reason.
        added_users: users that only the events knew, or only the follow graph as following, added
            without attributes.
        imputed: what was done about missing values.
        horizon: the earliest test cut (ms), before which everything was fitted; None where the
            log can't be cut.
    """

    tables: Tables
    removed: dict[str, dict[str, int]]
    blanked: dict[str, int]
    added_users: int
    imputed: tuple[Imputed, ...]
    horizon: int | None


def clean(raw: Tables, config: Config, now: datetime) -> Cleaned:
    """Repair canonical tables.

    Args:
        raw: tables with nulls allowed anywhere.
        config: `quality`, `actions` and `split` are read.
        now: events later than this (plus tolerance) are removed.

    Raises:
        ConfigError: the constant for missing event types is not a configured type.
    """
    _check(config)
    given = normalised(raw)
    blanked: dict[str, int] = {}
    items, items_gone, of_items = _sound_items(given.items, config, blanked)
    users = _Rows(given.users)
    users.remove("no user id", missing(given.users["user_id"]))
    users.remove("given again further down", defects.superseded(users.table, "user_id"))
    events, of_events = _sound_events(given.events, items, config, now, blanked)

    horizon = _horizon(events.table, config)
    while True:
        filled, fills = fill_events(events.table, config.quality.imputation.events, horizon)
        tail = _Rows(filled)
        same, _, collides = defects.copies(filled)
        tail.remove("duplicate", same)
        tail.remove("id of another event", collides[~same])
        actual = _horizon(tail.table, config)
        # Interpolated rows count in the cut: it must not end up before what they leant on.
        if horizon is None or actual is None or actual >= horizon:
            break
        horizon = actual
    lost = {f"no {_SAID.get(f.column, f.column)}": f.dropped for f in fills if f.dropped}
    filled_items, fills_items = fill_items(
        items, tail.table, config.quality.imputation.items, horizon
    )
    follows = _sound_follows(given.follows, users.table, tail.table, config, now)
    known, added = _with_users(users.table, tail.table, follows)
    events_gone = _sum(events.removed, lost, tail.removed)
    removed = {"events": events_gone, "items": items_gone, "users": users.removed}
    if follows is not None:
        removed["follows"] = follows.removed
    return Cleaned(
        Tables(
            tail.table.sort_by([("time", "ascending"), ("event_id", "ascending")]).cast(EVENTS),
            filled_items.cast(schema_of("items", filled_items.column_names)),
            known.cast(USERS),
            None if follows is None else follows.table.cast(FOLLOWS),
        ),
        removed,
        blanked,
        added,
        (*of_events, *fills, *of_items, *fills_items),
        horizon,
    )


class _Rows:
    """A table that loses rows, for reasons that are counted."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.removed: dict[str, int] = {}

    def remove(self, reason: str, rows: Bools) -> int:
        """Remove rows, given as a mask over the rows the table has now, and count them."""
        count = int(rows.sum())
        if count:
            self.table = self.table.filter(pa.array(~rows))
            self.removed[reason] = self.removed.get(reason, 0) + count
        return count


def _sound_items(
    items: pa.Table, config: Config, blanked: dict[str, int]
) -> tuple[pa.Table, dict[str, int], tuple[Imputed, ...]]:
    items = _blank(
        items, "price", defects.price_out_of_range(items, config.quality), "items.price", blanked
    )
    rows = _Rows(items)
    done = [_dropping("items", "item_id", rows, missing(items["item_id"]), "no item id")]
    rows.remove("given again further down", defects.superseded(rows.table, "item_id"))
    policies = config.quality.imputation.items
    for name in type(policies).model_fields:
        absent = dropped(rows.table, name, policies)
        done.append(_dropping("items", name, rows, absent, f"no {name}"))
    return rows.table, rows.removed, tuple(record for record in done if record.missing)


def _sound_events(
    events: pa.Table, items: pa.Table, config: Config, now: datetime, blanked: dict[str, int]
) -> tuple[_Rows, tuple[Imputed, ...]]:
    quality = config.quality
    for name, wrong, reason in (
        ("value", defects.value_not_finite(events), "not finite"),
        ("value", defects.value_out_of_range(events, quality), "out of range"),
        ("position", defects.position_out_of_range(events), "negative"),
        ("propensity", defects.propensity_out_of_range(events), "not in (0, 1]"),
    ):
        events = _blank(events, name, wrong, f"events.{name} {reason}", blanked)
    rows = _Rows(events)
    done = []
    for name, reason in (("event_id", "no id"), ("user_id", "no user"), ("item_id", "no item")):
        done.append(_dropping("events", name, rows, missing(rows.table[name]), reason))
    rows.remove("time out of range", defects.time_out_of_range(rows.table, quality, now))
    rows.remove("unknown event type", defects.unknown_event(rows.table, config.actions.types))
    rows.remove("unknown item", ~among(rows.table["item_id"], items["item_id"]))
    policies = quality.imputation.events
    for name in type(policies).model_fields:
        absent = dropped(rows.table, name, policies)
        done.append(_dropping("events", name, rows, absent, f"no {_SAID.get(name, name)}"))
    same, _, collides = defects.copies(rows.table)
    rows.remove("duplicate", same)
    rows.remove("id of another event", collides[~same])
    return rows, tuple(record for record in done if record.missing)


def _sound_follows(
    follows: pa.Table | None, users: pa.Table, events: pa.Table, config: Config, now: datetime
) -> _Rows | None:
    """Return the edges between two people, sorted by both; None where there is no graph."""
    if follows is None:
        return None
    rows = _Rows(follows)
    rows.remove("lacks a user", defects.ends_missing(rows.table))
    rows.remove("to oneself", defects.to_oneself(rows.table))
    late = defects.time_out_of_range(rows.table, config.quality, now, "since")
    rows.remove("time out of range", late)
    rows.remove("unknown followed user", defects.followed_unknown(rows.table, users, events))
    rows.remove("given earlier or again", defects.followed_again(rows.table))
    order = [("user_id", "ascending"), ("followed_user_id", "ascending")]
    rows.table = rows.table.sort_by(order)
    return rows


_SAID = {"event": "event type"}


def _dropping(table: str, column: str, rows: _Rows, absent: Bools, reason: str) -> Imputed:
    count = rows.remove(reason, absent)
    return Imputed(table, column, "drop", count, 0, count, "the row was removed")


def _blank(
    table: pa.Table, name: str, wrong: Bools, reason: str, blanked: dict[str, int]
) -> pa.Table:
    count = int(wrong.sum())
    if not count:
        return table
    blanked[reason] = count
    nothing = pa.scalar(None, table.schema.field(name).type)
    return replace(table, name, pc.if_else(pa.array(wrong), nothing, table[name]))


def _horizon(events: pa.Table, config: Config) -> int | None:
    """Return the earliest test cut of the history events with a known time, ms."""
    history = pc.is_in(events["event"], value_set=pa.array(list(config.actions.histories)))
    dated = pc.and_(history, pc.is_valid(events["time"]))
    try:
        folds = cut(milliseconds(events.filter(dated)["time"]), config.split)
    except TrainingError:
        return None
    return folds[0].test_start


def _with_users(users: pa.Table, events: pa.Table, follows: _Rows | None) -> tuple[pa.Table, int]:
    unknown = events.filter(pa.array(~among(events["user_id"], users["user_id"])))
    seen = set(unknown["user_id"].to_pylist())
    if follows is not None:
        # Who follows somebody and has not done anything yet is who social neighbours are for.
        edges = follows.table
        cold = edges.filter(pa.array(~among(edges["user_id"], users["user_id"])))
        seen.update(cold["user_id"].to_pylist())
    new = sorted(seen)
    rows: list[list[tuple[str, str]]] = [list(row or []) for row in users["attributes"].to_pylist()]
    rows += [[] for _ in new]
    ids = [*users["user_id"].to_pylist(), *new]
    return pa.table(
        [pa.array(ids, pa.string()), pa.array(rows, USERS.field("attributes").type)],
        names=["user_id", "attributes"],
    ), len(new)


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _check(config: Config) -> None:
    constant = config.quality.imputation.events.event.constant
    if constant is not None and constant not in config.actions.types:
        raise ConfigError(
            f"quality.imputation.events.event fills in {constant!r}, which is no configured type",
            f"configured are {', '.join(config.actions.types)}",
        )
