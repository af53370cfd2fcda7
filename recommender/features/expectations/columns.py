"""Columns of a snapshot as arrays: list lengths, what is missing, vectors.

Shape letters: R rows, T elements of all lists (jagged), W width of a vector.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def is_list(column: pa.ChunkedArray) -> bool:
    """Tell whether a column holds lists, of whatever offsets."""
    kind = column.type
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def is_number(column: pa.ChunkedArray) -> bool:
    """Tell whether a column holds numbers (moments are none)."""
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def lengths(column: pa.ChunkedArray) -> Ints:
    """Return how long each list is, (R,); a null list has length 0."""
    counts = pc.fill_null(pc.list_value_length(column), 0)
    return np.asarray(counts.cast(pa.int64()).to_numpy(), np.int64)


def flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the elements of all lists, (T,), in order."""
    return pc.list_flatten(column)


def numbers(column: pa.ChunkedArray) -> Floats:
    """Return numbers as float64, missing ones as NaN, (R,)."""
    whole = column.cast(pa.float64()).combine_chunks()
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.float64)


def missing(column: pa.ChunkedArray) -> Bools:
    """Return where nothing is said, (R,): null, NaN, an empty text or an empty list."""
    if is_list(column):
        return np.asarray(lengths(column) == 0, np.bool_)
    if is_number(column):
        return np.asarray(np.isnan(numbers(column)), np.bool_)
    absent = pc.is_null(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        absent = pc.or_(absent, pc.fill_null(pc.equal(column, ""), True))
    return mask(absent)


def mask(column: pa.ChunkedArray) -> Bools:
    """Return booleans without nulls as an array, (R,)."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)


def rows_with(broken: Bools, counts: Ints) -> Bools:
    """Return which rows hold a broken element, (R,).

    Args:
        broken: per element, (T,).
        counts: elements per row, (R,).
    """
    owner = np.repeat(np.arange(len(counts)), counts)
    return np.asarray(np.bincount(owner[broken], minlength=len(counts)) > 0, np.bool_)


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32] | None:
    """Return vectors as an array, (R, W); None where they aren't all of one width."""
    counts = lengths(column)
    if not len(counts) or (counts != counts[0]).any():
        return None
    values = np.asarray(flat(column).cast(pa.float32()).to_numpy(), np.float32)
    return values.reshape(len(counts), int(counts[0]))


def likeness(vectors: NDArray[np.float32]) -> Floats:
    """Return each vector's cosine with the mean of all, (R,); NaN for vectors of zeros.

    One figure that moves when the words of a catalogue or its encoder do.
    """
    norms = np.linalg.norm(vectors, axis=1)
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = float(np.linalg.norm(centre))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (vectors @ centre) / (norms * size)
    return np.where((norms > 0) & (size > 0), cosine, np.nan).astype(np.float64)
