"""Our few lines read and write what Feast's do."""

from __future__ import annotations

import math

import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.wire import KINDS, decode_key, decode_value, encode_key, encode_value, kind_of
from recommender.errors import FeatureError

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32)


@given(st.sampled_from(["user_id", "item_id"]), st.text())
def test_keys_are_those_of_feast(name, value):
    theirs = EntityKey(join_keys=[name], entity_values=[Value(string_val=value)])
    key = serialize_entity_key(theirs, entity_key_serialization_version=3)
    assert encode_key(name, value) == key
    assert decode_key(key) == value


@pytest.mark.parametrize(
    ("field", "strategy"),
    [
        ("string_val", st.text()),
        ("int32_val", st.integers(-(2**31), 2**31 - 1)),
        ("int64_val", INT64),
        ("double_val", st.floats()),
        ("float_val", FLOAT32),
        ("bool_val", st.booleans()),
    ],
)
def test_scalars_are_read_as_feast_reads_them(field, strategy):
    @given(strategy)
    def check(value):
        theirs = Value(**{field: value})
        assert same(decode_value(theirs.SerializeToString()), getattr(theirs, field))

    check()


@pytest.mark.parametrize(
    ("field", "strategy"),
    [
        ("string_list_val", st.text()),
        ("int64_list_val", INT64),
        ("double_list_val", st.floats()),
        ("float_list_val", FLOAT32),
    ],
)
def test_lists_are_read_as_feast_reads_them(field, strategy):
    @given(st.lists(strategy))
    def check(values):
        theirs = Value()
        getattr(theirs, field).SetInParent()
        getattr(theirs, field).val.extend(values)
        ours = decode_value(theirs.SerializeToString())
        wanted = list(getattr(theirs, field).val)
        assert len(ours) == len(wanted)
        assert all(same(a, b) for a, b in zip(ours, wanted, strict=True))

    check()


def same(ours, theirs) -> bool:
    if isinstance(theirs, float) and math.isnan(theirs):
        return math.isnan(ours)
    return type(ours) is type(theirs) and ours == theirs


def test_nothing_and_null_are_none():
    assert decode_value(b"") is None
    assert decode_value(Value(null_val=0).SerializeToString()) is None


def test_a_type_that_no_view_has_is_an_error_and_not_none():
    with pytest.raises(FeatureError, match="type that this reader doesn't know"):
        decode_value(Value(uuid_val="x").SerializeToString())


def test_damaged_bytes_are_an_error():
    with pytest.raises(FeatureError, match="damaged"):
        decode_value(b"\xff\xff\xff")


def test_a_key_of_another_type_is_an_error():
    theirs = EntityKey(join_keys=["user_id"], entity_values=[Value(int64_val=1)])
    with pytest.raises(FeatureError, match="not a text"):
        decode_key(serialize_entity_key(theirs, entity_key_serialization_version=3))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written_as_feast_writes_it(kind):
    example = {"string": "ü", "bytes": b"\0", "bool": True, "double": 0.1, "float": 0.5}
    value = example.get(kind.removesuffix("_list"), -7)
    theirs = Value()
    if kind.endswith("_list"):
        value = [value] * 3
        getattr(theirs, f"{kind}_val").val.extend(value)
    else:
        setattr(theirs, f"{kind}_val", value)
    ours = encode_value(value, kind)
    assert (ours, kind_of(ours)) == (theirs.SerializeToString(), kind)
    assert decode_value(ours) == value


def test_null_is_written_as_feast_writes_it():
    assert encode_value(None, "string_list") == Value().SerializeToString() == b""
    assert kind_of(b"") is None
    with pytest.raises(FeatureError, match="can't be kept as int64"):
        encode_value(2**63, "int64")
