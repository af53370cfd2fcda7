"""Columns of the canonical tables as arrays that can be compared and counted."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.tables import Tables

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_TEXTS = {
    "events": ("event_id", "user_id", "item_id", "event", "surface"),
    "items": ("item_id", "title", "text", "brand"),
    "users": ("user_id",),
    "follows": ("user_id", "followed_user_id"),
}


def replace(table: pa.Table, name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return `table` with one column replaced, in its place and of its type."""
    place = table.schema.get_field_index(name)
    field = table.schema.field(place)
    return table.set_column(place, field.with_nullable(True), column.cast(field.type))


def normalised(tables: Tables) -> Tables:
    """Return the tables with one notion of "missing": blank texts and NaN become null."""
    return Tables(**{n: _normalised(getattr(tables, n), _TEXTS[n]) for n in tables.names})


def _normalised(table: pa.Table, texts: tuple[str, ...]) -> pa.Table:
    for name in texts:
        column = table[name]
        blank = pc.equal(pc.utf8_trim_whitespace(column), "")
        if pc.any(blank).as_py():
            table = replace(table, name, pc.if_else(blank, pa.scalar(None, pa.string()), column))
    for field in table.schema:
        if pa.types.is_floating(field.type) and pc.any(pc.is_nan(table[field.name])).as_py():
            column = table[field.name]
            nothing = pa.scalar(None, field.type)
            table = replace(table, field.name, pc.if_else(pc.is_nan(column), nothing, column))
    return table


def missing(column: pa.ChunkedArray) -> Bools:
    """Return where a column is null, (rows,)."""
    return np.asarray(column.is_null().to_numpy(), dtype=np.bool_)


def milliseconds(column: pa.ChunkedArray) -> Ints:
    """Return a time column as UTC milliseconds, 0 where it is null, (rows,)."""
    return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), dtype=np.int64)


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a number column as floats, NaN where it is null, (rows,)."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def codes(column: pa.ChunkedArray) -> Ints:
    """Return a column as numbers that are equal where the values are, -1 for null, (rows,)."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def repeats(columns: dict[str, NDArray[Any]], keep: Literal["first", "last"] = "first") -> Bools:
    """Return which rows are equal to another one that stays (nulls equal each other), (rows,)."""
    frame = pd.DataFrame(columns)
    return frame.duplicated(keep=keep).to_numpy()


def among(column: pa.ChunkedArray, known: pa.ChunkedArray) -> Bools:
    """Return which values are among `known`; a null is not judged and counts as known, (rows,)."""
    found = pc.is_in(column, value_set=known.combine_chunks().drop_null())
    return np.asarray(found.to_numpy(), np.bool_) | missing(column)
