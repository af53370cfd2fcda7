"""Events in the order of every log, whatever the order and the form in which they come."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import event_table

from recommender.errors import FeatureError
from recommender.features.event_order import dictionary, in_order

# Ids whose order by code point is not that of people or of UTF-16; a NUL; digits by text.
USERS = st.sampled_from(
    ["", "u", "u1", "u10", "u2", "ü", "Z", "a\0b", "\uffff", "\U0001f600", "李"]
)
EVENTS = st.lists(st.tuples(USERS, st.integers(-2, 3), st.sampled_from("abcdefgh")), max_size=30)


def table(rows):
    return event_table([(user, "i", "click", time, None, name) for user, time, name in rows])


def by_python(rows):
    """The rule in the plainest words; the first of events delivered again stays."""
    first = {}
    for place, row in enumerate(rows):
        first.setdefault(row, place)
    return [first[row] for row in sorted(first)]


@given(EVENTS)
def test_the_order_is_that_of_sorted_tuples_and_an_event_counts_once(rows):
    found = in_order(table(rows))
    assert found.rows.tolist() == by_python(rows)
    kept = [rows[row][0] for row in found.rows]
    assert found.users == tuple(sorted(set(kept)))
    assert [
        kept[start:stop] for start, stop in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ] == [[user] * kept.count(user) for user in found.users]


@given(EVENTS, st.integers(1, 7))
def test_chunks_and_dictionaries_change_nothing(rows, size):
    plain = table(rows)
    chunked = pa.concat_tables([plain.slice(n, size) for n in range(0, len(rows), size)] or [plain])
    coded = chunked.set_column(1, "user_id", chunked["user_id"].dictionary_encode())
    # A dictionary that names users of whom nothing is left.
    part = coded.slice(0, len(rows) // 2)
    for given_, wanted in (
        (chunked, plain),
        (coded, plain),
        (part, plain.slice(0, len(rows) // 2)),
    ):
        ours, theirs = in_order(given_), in_order(wanted)
        assert ours.users == theirs.users
        assert ours.offsets.tolist() == theirs.offsets.tolist()
        assert ours.rows.tolist() == theirs.rows.tolist()


def test_more_users_than_sixteen_bits_can_count_are_in_order():
    rng = np.random.default_rng(3)
    names = rng.permutation(90_000)
    users = pa.array([f"u{n:05}" for n in names])
    events = pa.table(
        {"user_id": users, "time": pa.array(names % 7), "event_id": pa.array(names.astype(str))}
    )
    found = in_order(events)
    assert found.users == tuple(f"u{n:05}" for n in range(90_000))
    assert (names[found.rows] == np.arange(90_000)).all()


@pytest.mark.parametrize("column", ["user_id", "time"])
def test_an_event_without_a_user_or_a_time_is_told(column):
    events = table([("u", 1, "a"), ("v", 2, "b")])
    at = events.column_names.index(column)
    broken = events.set_column(
        at, column, pa.array([None, events[column][1].as_py()], events[column].type)
    )
    with pytest.raises(FeatureError, match=f"1 of 2 events have no {column}"):
        in_order(broken)


def test_codes_stand_for_texts_and_minus_one_for_a_missing_one():
    codes, names = dictionary(pa.chunked_array([["b", None], ["a", "b"]]))
    assert [None if code < 0 else names[code].as_py() for code in codes.tolist()] == [
        "b",
        None,
        "a",
        "b",
    ]
