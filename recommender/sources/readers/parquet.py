"""Parquet: columns keep their type, as far as it is text, number, moment or a list of texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender.errors import SourceError


def columns(path: Path) -> list[str]:
    """Return the column names.

    Raises:
        SourceError: the file is empty or isn't Parquet.
    """
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty", "the export may have failed; write it again")
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def read(path: Path, wanted: Sequence[str]) -> pa.Table:
    """Read some columns.

    Raises:
        SourceError: the file is damaged, or a column holds what can't be mapped.
    """
    try:
        table = pq.read_table(path, columns=list(wanted)).select(list(wanted))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    return pa.table([_plain(path, name, table[name]) for name in wanted], names=list(wanted))


def _plain(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(path, name, column.cast(kind.value_type))
    simple = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if simple or pa.types.is_timestamp(kind) or kind == pa.string():
        return column
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _list_of_text(path, name, column)
    target = None
    if pa.types.is_date(kind):
        target = pa.timestamp("ms")
    elif pa.types.is_decimal(kind):
        target = pa.float64()
    elif pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_null(kind):
        target = pa.string()
    if target is None:
        raise SourceError(
            f"{path}: column {name!r} holds {kind}, which can't be mapped",
            "write it as text, numbers, moments or lists of text",
        )
    try:
        return column.cast(target)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path}: column {name!r}: {error}") from error


def _list_of_text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    inner = column.type.value_type
    while pa.types.is_list(inner) or pa.types.is_large_list(inner):
        rows = [
            None if row is None else [text for part in row if part for text in part]
            for row in column.to_pylist()
        ]
        column = pa.chunked_array([pa.array(rows, pa.list_(inner.value_type))])
        inner = inner.value_type
    try:
        return pc.cast(column, pa.list_(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"{path}: column {name!r} holds {column.type}: {error}") from error


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} is not a readable Parquet file: {error}", "fetch it again; it may be truncated"
    )
