"""How a row lies in Feast's SQLite tables: one line per feature, and our exact age on the first.

Feast's `event_ts` and `created_ts` are whole seconds, counted in the writer's local time. The
column `vector_value`, unused unless Feast's own vector search is switched on, holds the exact age.
It counts only as long as the two columns beside it are those it was written with: a line that
Feast has written since is as old as Feast says.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from feature_repo.sqlite import table
from feature_repo.stores.stamps import UNKNOWN, Stamp, microseconds, moment
from feature_repo.wire import decode_value

MOST_KEYS = 500
"""Keys per query; SQLite's limit on variables is above it everywhere."""

_EXACT = struct.Struct(">qqqqq")
"""event, created and base, then Feast's two columns beside which this was written."""

_NO_ROWS = "feature_name IS NULL"

_Line = tuple[Any, ...]


class Stored(NamedTuple):
    """What the store holds of some entities: messages by feature, and their ages."""

    values: dict[bytes, dict[str, bytes]]
    stamps: dict[bytes, Stamp]


def create(store: sqlite3.Connection, project: str, view: str) -> None:
    """Make a view's table if there is none, so that Feast's own statements find what they want.

    Feast also makes an index of `entity_key`, which the primary key begins with already: nobody
    needs it, and it costs a quarter of every write. One of that name over no rows keeps it away.
    """
    name = table(project, view)
    store.execute(
        f"CREATE TABLE IF NOT EXISTS {name} (entity_key BLOB, feature_name TEXT, value BLOB, "
        "value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, "
        "PRIMARY KEY(entity_key, feature_name))"
    )
    index = table(project, f"{view}_ek")
    looked_up = store.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?", (index.strip('"'),)
    ).fetchone()
    if looked_up is None or _NO_ROWS not in looked_up[0]:
        store.execute(f"DROP INDEX IF EXISTS {index}")
        store.execute(f"CREATE INDEX {index} ON {name} (entity_key) WHERE {_NO_ROWS}")


def upsert(project: str, view: str) -> str:
    """Return the statement that writes a line as `lines` and `columns` make it."""
    return (
        f"INSERT INTO {table(project, view)} "  # noqa: S608
        "(entity_key, feature_name, value, value_text, vector_value, event_ts, created_ts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(entity_key, feature_name) DO UPDATE SET "
        "value = excluded.value, value_text = excluded.value_text, "
        "vector_value = excluded.vector_value, event_ts = excluded.event_ts, "
        "created_ts = excluded.created_ts"
    )


@lru_cache(maxsize=256)
def reading(project: str, view: str, keys: int, features: int) -> str:
    """Return the statement that reads lines of some entities.

    Args:
        project: Feast project.
        view: name of the feature view.
        keys: how many entity keys come first.
        features: how many names of features follow; -1: every feature is read.
    """
    named = "" if features < 0 else f" AND feature_name IN ({','.join('?' * features)})"
    return (
        f"SELECT entity_key, feature_name, value FROM {table(project, view)} "  # noqa: S608
        f"WHERE entity_key IN ({','.join('?' * keys)}){named}"
    )


def lines(entity: bytes, values: Mapping[str, bytes], first: str, stamp: Stamp) -> list[_Line]:
    """Return the lines of one row.

    Args:
        entity: its key.
        values: messages by feature.
        first: name of the view's first feature, whose line carries the exact age.
        stamp: its age.
    """
    event, created, exact = ages(stamp)
    return [
        (entity, name, value, text_of(value), exact if name == first else None, event, created)
        for name, value in values.items()
    ]


def columns(
    keys: Sequence[bytes],
    values: Mapping[str, Sequence[bytes]],
    stamps: Sequence[Stamp],
    chosen: Iterable[int],
) -> Iterator[_Line]:
    """Yield the lines of many rows that are given by columns.

    Args:
        keys: entity keys.
        values: messages by feature.
        stamps: ages.
        chosen: indices of the rows wanted.
    """
    first = min(values, default="")
    known = [(name, each, _texts(each), name == first) for name, each in sorted(values.items())]
    for index in chosen:
        event, created, exact = ages(stamps[index])
        for name, each, texts, carries in known:
            text = texts[index] if texts else None
            yield keys[index], name, each[index], text, exact if carries else None, event, created


@lru_cache(maxsize=1024)
def ages(stamp: Stamp) -> tuple[int, int, bytes]:
    """Return Feast's `event_ts` and `created_ts`, and the exact age."""
    event, created = _seconds(stamp.event), _seconds(stamp.created)
    return event, created, _EXACT.pack(*stamp, event, created)


def stamp_of(event_ts: int, created_ts: int | None, exact: bytes | None) -> Stamp:
    """Return the age that a line tells."""
    if exact is not None and len(exact) == _EXACT.size:
        *held, event, created = _EXACT.unpack(exact)
        if (event, created) == (event_ts, created_ts):
            return Stamp(*held)
    event = _of_seconds(event_ts)
    return Stamp(event, UNKNOWN if created_ts is None else _of_seconds(created_ts))


def stored(store: sqlite3.Connection, project: str, view: str, keys: Sequence[bytes]) -> Stored:
    """Return the rows of some entities; those that aren't there are left out."""
    statement = (
        "SELECT entity_key, feature_name, value, event_ts, created_ts, vector_value "  # noqa: S608
        f"FROM {table(project, view)} WHERE entity_key IN "
    )
    values: dict[bytes, dict[str, bytes]] = {}
    stamps: dict[bytes, Stamp] = {}
    for some in chunks(keys):
        for entity, name, value, *age in store.execute(f"{statement}({marks(some)})", some):
            values.setdefault(entity, {})[name] = value
            _note(stamps, entity, age)
    return Stored(values, stamps)


def stored_ages(
    store: sqlite3.Connection, project: str, view: str, keys: Sequence[bytes], first: str
) -> dict[bytes, Stamp]:
    """Return the ages of some entities, from the line of one feature where there is one."""
    start = (
        "SELECT entity_key, event_ts, created_ts, vector_value "  # noqa: S608
        f"FROM {table(project, view)} WHERE entity_key IN "
    )
    stamps: dict[bytes, Stamp] = {}
    for some in chunks(keys):
        statement = f"{start}({marks(some)}) AND feature_name = ?"
        for entity, *age in store.execute(statement, (*some, first)):
            _note(stamps, entity, age)
    # Without that line: nothing is stored, or it was before the view had this feature.
    for some in chunks([key for key in keys if key not in stamps]):
        for entity, *age in store.execute(f"{start}({marks(some)})", some):
            _note(stamps, entity, age)
    return stamps


def every_age(store: sqlite3.Connection, project: str, view: str) -> Iterator[tuple[bytes, Stamp]]:
    """Yield the age of every entity of a view, in the order of their keys."""
    walked = store.execute(
        "SELECT entity_key, event_ts, created_ts, vector_value "  # noqa: S608
        f"FROM {table(project, view)} ORDER BY entity_key"
    )
    current: dict[bytes, Stamp] = {}
    for entity, *age in walked:
        if current and entity not in current:
            yield current.popitem()
        _note(current, entity, age)
    yield from current.items()


def text_of(value: bytes) -> str | None:
    """Return what Feast puts into `value_text`: a scalar as text, nothing for lists and null."""
    held = decode_value(value)
    if held is None or isinstance(held, list | bytes):
        return None
    return str(held)


def marks(values: Iterable[Any]) -> str:
    """Return a question mark per value, with commas."""
    return ",".join("?" for _ in values)


def chunks(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield keys in portions that one query can hold."""
    for start in range(0, len(keys), MOST_KEYS):
        yield keys[start : start + MOST_KEYS]


def _note(stamps: dict[bytes, Stamp], entity: bytes, age: Sequence[Any]) -> None:
    """Remember the newest age of an entity that its lines tell."""
    stamp = stamp_of(*age)
    if entity not in stamps or stamp > stamps[entity]:
        stamps[entity] = stamp


def _texts(values: Sequence[bytes]) -> list[str | None] | None:
    """Return `value_text` of a column; None if it holds lists only."""
    known: dict[bytes, str | None] = {}
    some = next((value for value in values if value), None)
    if some is None or isinstance(decode_value(some), list | bytes):
        return None
    return [known[v] if v in known else known.setdefault(v, text_of(v)) for v in values]


@lru_cache(maxsize=1024)
def _seconds(us: int) -> int:
    # Always down, also before 1970: no other line may look newer than the one with the exact age.
    naive = moment(us).replace(tzinfo=None, microsecond=0)
    try:
        return int(naive.timestamp())
    except (OverflowError, ValueError, OSError):
        return us // 1_000_000


def _of_seconds(seconds: int) -> int:
    try:
        return microseconds(datetime.fromtimestamp(int(seconds)))
    except (OverflowError, ValueError, OSError):
        return int(seconds) * 1_000_000
