"""Columns are encoded byte for byte as message objects would be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.stores.arrow_values import encoded, kind_of_column
from feature_repo.wire import encode_value
from recommender.errors import FeatureError

INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
SCALARS = [
    (pa.string(), st.text()),
    (pa.large_string(), st.text()),
    (pa.binary(), st.binary()),
    (pa.int32(), INT32),
    (pa.int64(), INT64),
    (pa.uint8(), st.integers(0, 255)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
]


@pytest.mark.parametrize(("kind", "values"), SCALARS, ids=lambda each: str(each))
@pytest.mark.parametrize("shape", ["scalar", "list", "large_list", "sliced"])
def test_every_byte_is_that_of_a_message(kind, values, shape):
    scalar = shape == "scalar"
    several = values if scalar else st.lists(values, max_size=4)
    wrap = {"scalar": lambda each: each, "large_list": pa.large_list}.get(shape, pa.list_)

    @given(st.lists(st.none() | several, max_size=6))
    def check(rows):
        column = pa.array(rows, wrap(kind))
        if shape == "sliced":
            column, rows = column[1:-1], rows[1:-1]
        name = kind_of_column("column", column.type)
        assert encoded("column", column) == [encode_value(row, name) for row in rows]

    check()


@pytest.mark.parametrize("length", [1, 127, 128, 20_000])
@pytest.mark.parametrize("value", [0, 127, 128, 2**35, -1])
def test_long_lists_get_long_headers(length, value):
    column = pa.array([[value] * length, [value]], pa.list_(pa.int64()))
    wanted = [encode_value(row, "int64_list") for row in column.to_pylist()]
    assert encoded("column", column) == wanted


def test_dictionaries_and_lists_of_one_length_are_taken_as_what_they_hold():
    texts = pa.array(["a", "b", "a", None]).dictionary_encode()
    assert encoded("c", texts) == [encode_value(v, "string") for v in ("a", "b", "a", None)]
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 3)
    assert encoded("c", fixed) == [encode_value(v, "float_list") for v in ([0, 1, 2], [3, 4, 5])]


def test_a_null_inside_a_list_is_told_with_its_row():
    column = pa.array([["a"], ["b", None], [None]])
    with pytest.raises(FeatureError, match=r"2 nulls inside the lists of tags, first in row 1"):
        encoded("tags", column)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ms"), pa.uint64(), pa.list_(pa.list_(pa.int64())), pa.decimal128(5, 2)]
)
def test_a_type_that_does_not_fit_is_refused(kind):
    with pytest.raises(FeatureError, match="column odd is of the type"):
        kind_of_column("odd", kind)
