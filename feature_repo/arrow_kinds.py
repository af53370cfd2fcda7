"""The Arrow type of each kind of value that a feature can hold (see `wire.KINDS`)."""

from __future__ import annotations

import pyarrow as pa

_SCALARS: dict[str, pa.DataType] = {
    "bytes": pa.binary(),
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "float": pa.float32(),
    "bool": pa.bool_(),
}


def arrow_type(kind: str) -> pa.DataType:
    """Return the Arrow type of a kind by Feast's name in lower case: `int64`, `float_list`.

    Raises:
        KeyError: there is no such kind.
    """
    scalar = _SCALARS[kind.removesuffix("_list")]
    return pa.list_(scalar) if kind.endswith("_list") else scalar
