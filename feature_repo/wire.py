"""How Feast writes keys and values into an online store, without importing Feast.

`import feast` costs seconds; a model server needs one row per request. The formats are Feast's
public wire formats: entity keys of serialization version 3, and `feast.types.Value` messages.
Tests compare every value with what the SDK reads.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from recommender.errors import FeatureError

_STRING = 2
"""`feast.types.ValueType.STRING`: the type of all our keys and of their names."""

_Kind = descriptor_pb2.FieldDescriptorProto

_SCALARS = {
    "bytes_val": (1, _Kind.TYPE_BYTES),
    "string_val": (2, _Kind.TYPE_STRING),
    "int32_val": (3, _Kind.TYPE_INT32),
    "int64_val": (4, _Kind.TYPE_INT64),
    "double_val": (5, _Kind.TYPE_DOUBLE),
    "float_val": (6, _Kind.TYPE_FLOAT),
    "bool_val": (7, _Kind.TYPE_BOOL),
    "null_val": (19, _Kind.TYPE_INT32),  # an enumeration, which travels as a number
}
_LISTS = {
    "bytes_list_val": (11, _Kind.TYPE_BYTES),
    "string_list_val": (12, _Kind.TYPE_STRING),
    "int32_list_val": (13, _Kind.TYPE_INT32),
    "int64_list_val": (14, _Kind.TYPE_INT64),
    "double_list_val": (15, _Kind.TYPE_DOUBLE),
    "float_list_val": (16, _Kind.TYPE_FLOAT),
    "bool_list_val": (17, _Kind.TYPE_BOOL),
}

KINDS: dict[str, int] = {
    field.removesuffix("_val"): number
    for field, (number, _) in {**_SCALARS, **_LISTS}.items()
    if field != "null_val"
}
"""What a feature can hold, by Feast's names in lower case, with the number of its field."""

_FIELDS = {number: kind for kind, number in KINDS.items()}


def encode_key(name: str, value: str) -> bytes:
    """Return the entity key of one text join key, as Feast writes it (version 3)."""
    key, text = name.encode(), value.encode()
    return b"".join(
        (
            struct.pack("<III", 1, _STRING, len(key)),
            key,
            struct.pack("<II", _STRING, len(text)),
            text,
        )
    )


def decode_key(key: bytes) -> str:
    """Return the value in an entity key that `encode_key` could have made."""
    (length,) = struct.unpack_from("<I", key, 8)
    start = 12 + length
    kind, size = struct.unpack_from("<II", key, start)
    if kind != _STRING:
        raise FeatureError(f"an entity key holds a value of Feast's type {kind}, not a text")
    return key[start + 8 : start + 8 + size].decode()


def decode_value(value: bytes) -> Any:
    """Return what a `feast.types.Value` holds: a scalar, a list, or None.

    Raises:
        FeatureError: the bytes aren't such a message, or are of a type that no view here has.
    """
    try:
        message = _value().FromString(value)
    except DecodeError as error:
        raise FeatureError(f"a stored feature is damaged: {error}", "publish again") from error
    field = message.WhichOneof("val")
    if field is None:
        if value:
            raise FeatureError("a stored feature is of a type that this reader doesn't know")
        return None
    if field == "null_val":
        return None
    held = getattr(message, field)
    return held.val[:] if field in _LISTS else held


def encode_value(value: Any, kind: str) -> bytes:
    """Return a `feast.types.Value`; None becomes Feast's null, the empty message.

    Args:
        value: a scalar, or a list (tuple, array) for the kinds that end in `_list`.
        kind: one of `KINDS`.

    Raises:
        FeatureError: the value isn't of that kind, or a list holds a null, which Feast can't keep.
    """
    if value is None:
        return b""
    field = f"{kind}_val"
    message = _value()()
    try:
        if field in _LISTS:
            held = getattr(message, field)
            held.SetInParent()  # an empty list is not null
            held.val.extend(value)
        else:
            setattr(message, field, value)
        return bytes(message.SerializeToString())
    except (AttributeError, TypeError, ValueError) as error:
        raise FeatureError(f"{str(value)[:80]!r} can't be kept as {kind}: {error}") from None


def kind_of(value: bytes) -> str | None:
    """Return the kind of a stored `Value`; None if it is null or of no kind that we know."""
    if not value:
        return None
    tag = value[0] if value[0] < 0x80 or len(value) < 2 else value[0] & 0x7F | value[1] << 7
    return _FIELDS.get(tag >> 3)


@cache
def _value() -> Any:
    """Describe the part of `feast/types/Value.proto` that our views use, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name="value.proto", package="wire", syntax="proto3")
    value = descriptor_pb2.DescriptorProto(name="Value")
    value.oneof_decl.add(name="val")
    for name, (number, kind) in _SCALARS.items():
        value.field.add(name=name, number=number, type=kind, label=1, oneof_index=0)
    for name, (number, kind) in _LISTS.items():
        lists = file.message_type.add(name=name)
        lists.field.add(name="val", number=1, type=kind, label=3)
        value.field.add(
            name=name,
            number=number,
            type=_Kind.TYPE_MESSAGE,
            type_name=f".wire.{name}",
            label=1,
            oneof_index=0,
        )
    file.message_type.append(value)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("wire.Value"))
