"""A hash of what tables say, whatever way they are chunked, encoded or written.

Parquet bytes change with the library's version and Arrow buffers with the way a table came to
be; the values don't. Each column is hashed in pieces of a fixed number of rows: a bit per null,
then the values with nulls replaced by zero or nothing, lengths before content.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.tables import Tables

_ROWS = 1 << 20
_DIGITS = 12


def data_version(tables: Tables) -> str:
    """Return the name of a data version: `d-` and 12 hex digits of its content's SHA-256."""
    digest = hashlib.sha256()
    for name in tables.names:
        digest.update(f"{name}:{content_hash(getattr(tables, name))};".encode())
    return f"d-{digest.hexdigest()[:_DIGITS]}"


def content_hash(table: pa.Table) -> str:
    """Return the SHA-256 of a table's column names, types and values, in hex."""
    digest = hashlib.sha256()
    for field in table.schema:
        digest.update(f"{field.name}:{field.type}:{table.num_rows};".encode())
        column = table[field.name]
        for start in range(0, table.num_rows, _ROWS):
            piece = column.slice(start, _ROWS)
            chunks = piece.chunks
            _update(digest, chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks))
    return digest.hexdigest()


def _update(digest: hashlib._Hash, array: pa.Array) -> None:
    digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    kind = array.type
    if pa.types.is_map(kind):
        # A map is a list of pairs; their order is part of what it says.
        pairs = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        _lengths(digest, pairs)
        for half in pairs.flatten().flatten():
            _update(digest, half)
    elif pa.types.is_list(kind):
        _lengths(digest, array)
        _update(digest, array.flatten())
    elif pa.types.is_string(kind):
        filled = array.fill_null("").cast(pa.binary())
        digest.update(pc.binary_length(filled).to_numpy().tobytes())
        digest.update(_bytes(filled))
    elif pa.types.is_timestamp(kind):
        digest.update(array.cast(pa.int64()).fill_null(0).to_numpy().tobytes())
    elif pa.types.is_floating(kind):
        values = array.fill_null(0.0).to_numpy().astype(np.float64)
        # There are many bit patterns of NaN and two zeros; each means one thing.
        values = np.where(np.isnan(values), np.nan, values) + 0.0
        digest.update(values.tobytes())
    else:
        digest.update(array.fill_null(0).to_numpy().tobytes())


def _lengths(digest: hashlib._Hash, array: pa.Array) -> None:
    digest.update(pc.list_value_length(array).fill_null(0).to_numpy().tobytes())


def _bytes(array: pa.Array) -> memoryview:
    """Return the concatenated content of a binary array without nulls."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[ends[0] : ends[-1]]
