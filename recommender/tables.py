"""The canonical tables: what every source is turned into, one Arrow schema each.

`events`  who did what with which item, when; `propensity` is the probability with which the
          logging policy showed the item at `position` (null where it was not logged).
`items`   the catalogue, described in words; further numbers and vectors where a source has such.
`users`   who they are; whatever attributes a source has, as text.
`follows` who follows whom, and since when; only where a source has a follow graph.
Times are UTC milliseconds. Ids are text. Rows of `events` are sorted by (time, event_id).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recommender.errors import SourceError, StorageError
from recommender.files import atomic_file

TIME = pa.timestamp("ms", tz="UTC")

EVENTS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("surface", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("propensity", pa.float64()),
    ]
)

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("categories", pa.list_(pa.string())),
        pa.field("brand", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("created", TIME),
    ]
)

USERS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
    ]
)

FOLLOWS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("followed_user_id", pa.string(), nullable=False),
        pa.field("since", TIME),
    ]
)

SCHEMAS = {"events": EVENTS, "items": ITEMS, "users": USERS}
"""What every data version has."""

OPTIONAL = {"follows": FOLLOWS}
"""What a data version has where its source does."""

FURTHER = {
    "items": (
        pa.field("numbers", pa.map_(pa.string(), pa.float64())),
        pa.field("vectors", pa.map_(pa.string(), pa.list_(pa.float32()))),
    )
}
"""Columns that a table has where a source is mapped to them, and lacks otherwise."""


def schema_of(name: str, columns: Sequence[str]) -> pa.Schema:
    """Return the canonical schema of a table, with those of its further columns that it has.

    Args:
        name: of the table.
        columns: names of those that it has.
    """
    further = [field for field in FURTHER.get(name, ()) if field.name in columns]
    return pa.schema([*{**SCHEMAS, **OPTIONAL}[name], *further])


def relaxed(schema: pa.Schema) -> pa.Schema:
    """Return `schema` with every column nullable: raw tables before validation may hold nulls."""
    return pa.schema([field.with_nullable(True) for field in schema])


@dataclass(frozen=True)
class Tables:
    """The canonical tables of one data version; `follows` is None where there is no graph."""

    events: pa.Table
    items: pa.Table
    users: pa.Table
    follows: pa.Table | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tables that are there."""
        return (*SCHEMAS, *(name for name in OPTIONAL if getattr(self, name) is not None))

    def write(self, folder: Path) -> None:
        """Write `events.parquet`, `items.parquet`, `users.parquet` … into `folder`."""
        for name in self.names:
            with atomic_file(folder / f"{name}.parquet") as temporary:
                pq.write_table(getattr(self, name), temporary, compression="zstd")

    @classmethod
    def read(cls, folder: Path) -> Tables:
        """Read the tables that `write` left in `folder`.

        Raises:
            StorageError: a file is missing or isn't Parquet.
            SourceError: a file's columns aren't those of the canonical schema.
        """
        names = (*SCHEMAS, *optional_in(folder))
        return cls(**{name: _read(folder / f"{name}.parquet", name) for name in names})


def optional_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the optional tables that lie in a folder."""
    return tuple(name for name in OPTIONAL if (folder / f"{name}.parquet").exists())


def _read(path: Path, name: str) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist", "run the ingest step first") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise StorageError(f"{path} is not a readable Parquet file: {error}") from error
    wanted = relaxed(schema_of(name, table.column_names))
    missing = [column for column in wanted.names if column not in table.column_names]
    if missing:
        raise SourceError(f"{path}: the canonical {name} table lacks {', '.join(missing)}")
    try:
        return table.select(wanted.names).cast(wanted)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path}: a value does not fit the canonical schema: {error}") from error
