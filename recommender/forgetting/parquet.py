"""A person's rows in Parquet: counted, and left out of a file that takes the old one's place.

Row by row in bounded memory; everybody else's rows stay as they are, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.files import atomic_file
from recommender.forgetting.person import Person

MAGIC = b"PAR1"
_ROWS = 1 << 16

Bools = NDArray[np.bool_]


def count(source: Any, person: Person) -> int:
    """Return how many rows name the person.

    Args:
        source: a path, or a file object.
        person: who is looked for.

    Raises:
        pyarrow.ArrowInvalid, OSError: it isn't readable Parquet.
    """
    with pq.ParquetFile(source) as file:
        return sum(int(rows_of(batch, person).sum()) for batch in _searched(file))


def erase(path: Path, person: Person) -> int:
    """Take the person's rows out of a file, atomically; one without any is not touched.

    Raises:
        pyarrow.ArrowInvalid, OSError: it isn't readable Parquet.
        StorageError: the disk is full or the folder can't be written; the file is as it was.
    """
    if not count(path, person):
        return 0
    mode = path.stat().st_mode & 0o777
    with atomic_file(path) as temporary:
        removed = copy_without(path, temporary, person)
        temporary.chmod(mode)
    return removed


def copy_without(source: Any, target: Any, person: Person) -> int:
    """Write a file without the person's rows; return how many those were.

    Args:
        source: a path, or a file object.
        target: likewise.
        person: whose rows are left out.
    """
    removed = 0
    with (
        pq.ParquetFile(source) as file,
        pq.ParquetWriter(target, file.schema_arrow, compression=_codec(file)) as writer,
    ):
        for group in range(file.num_row_groups):
            kept = []
            for batch in file.iter_batches(_ROWS, row_groups=[group]):
                theirs = rows_of(batch, person)
                removed += int(theirs.sum())
                kept.append(batch.filter(pa.array(~theirs)))
            writer.write_table(pa.Table.from_batches(kept, file.schema_arrow))
    return removed


def rows_of(batch: pa.RecordBatch, person: Person) -> Bools:
    """Return which rows of a batch name the person, in any column that can."""
    found = np.zeros(batch.num_rows, bool)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _may_name_people(column.type):
            found |= _rows(column, name, person)
    return found


def _searched(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    schema = file.schema_arrow
    names = [field.name for field in schema if _may_name_people(field.type)]
    return iter(file.iter_batches(_ROWS, columns=names)) if names else iter(())


def _may_name_people(kind: pa.DataType) -> bool:
    """Tell whether a type has text or bytes anywhere inside."""
    if pa.types.is_dictionary(kind):
        return _may_name_people(kind.value_type)
    if pa.types.is_nested(kind):
        return any(_may_name_people(kind.field(place).type) for place in range(kind.num_fields))
    return _is_text(kind) or _is_bytes(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _rows(column: pa.Array, name: str, person: Person) -> Bools:
    """Return which cells of a column hold the person, lists and maps included."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        inside = _rows(column.dictionary, name, person)
        if not inside.any():
            return np.zeros(len(column), bool)
        return _true(pc.take(pa.array(inside), column.indices))
    if _is_text(kind):
        found = pc.match_substring(column, person.pseudonym)
        if person.may_be_in(name):
            found = pc.or_(found, pc.equal(column, pa.scalar(person.user_id, kind)))
        return _true(found)
    if _is_bytes(kind):
        return _true(_any_key(column, person))
    if pa.types.is_struct(kind):
        found = np.zeros(len(column), bool)
        for place, inner in enumerate(column.flatten()):
            if _may_name_people(inner.type):
                found |= _rows(inner, kind.field(place).name, person)
        return found
    if pa.types.is_map(kind):
        pairs = column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        return _in_lists(pairs, name, person)
    if _may_name_people(kind):
        return _in_lists(column, name, person)
    return np.zeros(len(column), bool)


def _in_lists(column: pa.Array, name: str, person: Person) -> Bools:
    found = np.zeros(len(column), bool)
    flat = column.flatten()
    if pa.types.is_struct(flat.type):
        # Keys and values of a map say what they are by the name of the map.
        inside = np.zeros(len(flat), bool)
        for inner in flat.flatten():
            if _may_name_people(inner.type):
                inside |= _rows(inner, name, person)
    else:
        inside = _rows(flat, name, person)
    found[pc.list_parent_indices(column).to_numpy()[inside]] = True
    return found


def _any_key(column: pa.Array, person: Person) -> pa.Array:
    found = pc.match_substring(column.cast(pa.binary()), person.pseudonym.encode())
    for key in person.keys:
        found = pc.or_(found, pc.equal(column.cast(pa.binary()), pa.scalar(key, pa.binary())))
    return found


def _true(found: pa.Array) -> Bools:
    values: Bools = found.fill_null(False).to_numpy(zero_copy_only=False)
    return values


def _codec(file: pq.ParquetFile) -> str:
    described = file.metadata
    if described.num_row_groups and described.num_columns:
        return (
            str(described.row_group(0).column(0).compression)
            .lower()
            .replace("uncompressed", "none")
        )
    return "zstd"
