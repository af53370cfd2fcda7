"""Arrow columns → `feast.types.Value` messages, a column at a time.

Building a message object per value is what makes materialization slow. The wire format is simple
enough to write it from Arrow's buffers: floats lie there as they travel, integers become
variable-length ones in NumPy, texts get their length put before them by Arrow's own kernels.
Tests compare every byte with Feast's messages.

Format: https://protobuf.dev/programming-guides/encoding (packed repeated fields).
"""

from __future__ import annotations

import struct
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.wire import KINDS, encode_value
from recommender.errors import FeatureError

_PACKED = b"\x0a"
"""Tag of field 1 with a length: where a list message keeps its values."""

_SCALARS: dict[pa.DataType, str] = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.binary(): "bytes",
    pa.large_binary(): "bytes",
    pa.int8(): "int32",
    pa.int16(): "int32",
    pa.int32(): "int32",
    pa.uint8(): "int32",
    pa.uint16(): "int32",
    pa.int64(): "int64",
    pa.uint32(): "int64",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "bool",
}


def kind_of_column(column: str, kind: pa.DataType) -> str:
    """Return what Feast calls the values of an Arrow column, one of `feature_repo.wire.KINDS`.

    Args:
        column: its name, for the message.
        kind: its Arrow type.

    Raises:
        FeatureError: no kind of Feast's fits it exactly.
    """
    if pa.types.is_dictionary(kind):
        return kind_of_column(column, kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        found = _SCALARS.get(kind.value_type)
        return f"{found}_list" if found else _refused(column, kind)
    return _SCALARS.get(kind) or _refused(column, kind)


def encoded(column: str, values: pa.Array) -> list[bytes]:
    """Return one message per value; null is the empty message, as Feast writes it.

    Args:
        column: its name, for messages.
        values: of a type that `kind_of_column` knows; R values.

    Returns:
        R messages.

    Raises:
        FeatureError: a list holds a null, which Feast can't keep, or the type isn't known.
    """
    kind = kind_of_column(column, values.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    tag = _varint(KINDS[kind] << 3 | 2)
    if not kind.endswith("_list"):
        return _scalars(values, kind, tag)
    flat, bounds = _flattened(column, values)
    if kind in ("string_list", "bytes_list"):
        made = _framed(tag, *_prefixed(flat, bounds))
    elif kind in ("float_list", "double_list"):
        width = flat.type.bit_width // 8
        raw = np.ascontiguousarray(flat.to_numpy(zero_copy_only=False)).tobytes()
        made = _framed(tag, raw, bounds * width, packed=True)
    else:
        made = _framed(tag, *_varints(flat.cast(pa.int64()), bounds), packed=True)
    if values.null_count:
        for row in np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False)):
            made[row] = b""
    return made


def _scalars(values: pa.Array, kind: str, tag: bytes) -> list[bytes]:
    if kind == "string":
        texts = (None if text is None else text.encode() for text in values.to_pylist())
        return [b"" if t is None else tag + _varint(len(t)) + t for t in texts]
    if kind in ("double", "float"):
        pack = struct.Struct("<Bd" if kind == "double" else "<Bf").pack
        head = KINDS[kind] << 3 | (1 if kind == "double" else 5)
        return [b"" if v is None else pack(head, v) for v in values.to_pylist()]
    # Few different ones are usual: moments, counts.
    known: dict[object, bytes] = {}
    made = []
    for value in values.to_pylist():
        found = known.get(value)
        if found is None:
            found = known[value] = encode_value(value, kind)
        made.append(found)
    return made


def _flattened(column: str, values: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return all values one after the other, and where each row's begin (R + 1 bounds)."""
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    flat = values.flatten()
    if flat.null_count:
        where = np.flatnonzero(pc.is_null(flat).to_numpy(zero_copy_only=False))
        row = int(np.searchsorted(bounds, where[0], "right")) - 1
        raise FeatureError(
            f"{flat.null_count} nulls inside the lists of {column}, first in row {row} "
            f"({str(values[row].as_py())[:80]})",
            "Feast can't keep a null inside a list; leave the value out or write a stand-in",
        )
    return flat, bounds


def _framed(tag: bytes, raw: bytes, bounds: NDArray[np.int64], packed: bool = False) -> list[bytes]:
    """Cut a row's bytes out of `raw` and put the headers of its message before them."""
    ends = bounds.tolist()
    head = cache(lambda size: _head(tag, size, packed))
    return [head(b - a) + raw[a:b] for a, b in pairwise(ends)]


def _head(tag: bytes, size: int, packed: bool) -> bytes:
    inner = _PACKED + _varint(size) if packed and size else b""
    return tag + _varint(len(inner) + size) + inner


def _prefixed(flat: pa.Array, bounds: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """Put its tag and length before each text; move the bounds from values to bytes."""
    texts = flat.cast(pa.large_binary())
    sizes = pc.binary_length(texts)
    known = pc.unique(sizes)
    heads = pa.array([_PACKED + _varint(size) for size in known.to_pylist()], pa.large_binary())
    prefix = heads.take(pc.index_in(sizes, known))
    joined = pc.binary_join_element_wise(prefix, texts, pa.scalar(b"", pa.large_binary()))
    _, offsets, data = joined.buffers()
    starts = np.frombuffer(offsets, np.int64)[joined.offset : joined.offset + len(joined) + 1]
    raw = data.to_pybytes() if data is not None else b""
    return raw, (starts[bounds] if len(joined) else bounds)


def _varints(flat: pa.Array, bounds: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """Write integers with 7 bits a byte, lowest first; move the bounds from values to bytes."""
    numbers = flat.to_numpy(zero_copy_only=False).view(np.uint64)
    if not len(numbers):
        return b"", bounds
    longest = -(-max(int(numbers.max()).bit_length(), 1) // 7)
    sizes = np.ones(len(numbers), np.int64)
    for size in range(1, longest):
        sizes += numbers >= np.uint64(1 << 7 * size)
    # As if all were equally long, then the bytes that are too many are left out.
    grid = np.empty((len(numbers), longest), np.uint8)
    for place in range(longest):
        grid[:, place] = (numbers >> np.uint64(7 * place)) & np.uint64(0x7F)
    places = np.arange(longest)
    grid |= np.where(places < sizes[:, None] - 1, np.uint8(0x80), np.uint8(0))
    if int(sizes.min()) == longest:
        return grid.tobytes(), bounds * longest
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return grid[places < sizes[:, None]].tobytes(), starts[bounds]


def _varint(number: int) -> bytes:
    """Return a non-negative integer with 7 bits a byte, lowest first."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _refused(column: str, kind: pa.DataType) -> str:
    raise FeatureError(
        f"column {column} is of the type {kind}, which the online stores can't keep",
        "cast it to text, int32, int64, float, double, bool or a list of these; moments are int64 "
        "milliseconds",
    )
