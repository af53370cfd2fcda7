"""What every online store promises, kept by the real SQLite and the real Redis."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from user_rows import KEY, KINDS, VIEW, appending, at, batch, items

from feature_repo.stores.online_store import Written, replace
from recommender.errors import FeatureError


def test_what_was_written_is_read_in_the_order_asked_for(store):
    told = store.write(
        VIEW, KEY, [batch({"a": ["x", "y"], "b": []}, 1, 1), batch({"c": None}, 1, 1)]
    )
    assert told == Written(rows=3)
    assert items(store, "c", "stranger", "b", "a", "a") == [None, None, [], ["x", "y"], ["x", "y"]]
    rows = store.rows(VIEW, KEY, ["c", "stranger"])
    assert rows == [{"item_ids": None, "times": [1], "as_of": 1}, None]
    assert sorted(set(store.ids(VIEW))) == ["a", "b", "c"]
    assert store.views() == [VIEW]


@pytest.mark.parametrize(
    ("event", "created", "gets_in"),
    [(4, 9, False), (5, 4, False), (5, 5, True), (5, 6, True), (6, 1, True)],
)
def test_the_newer_row_wins_and_of_equal_moments_the_later_made(store, event, created, gets_in):
    store.write(VIEW, KEY, [batch({"a": ["old"]}, 5, 5)])
    told = store.write(VIEW, KEY, [batch({"a": ["new"], "b": ["new"]}, event, created)])
    assert told == Written(rows=1 + gets_in, stale=1 - gets_in)
    assert items(store, "a", "b") == [["new" if gets_in else "old"], ["new"]]


def test_moments_are_compared_to_the_microsecond(store):
    fine = pa.array([at(0).replace(microsecond=n) for n in (3, 5, 4)], pa.timestamp("us", tz="UTC"))
    rows = pa.record_batch(
        {KEY: ["a", "a", "a"], "as_of": pa.array([3, 5, 4]), "event_timestamp": fine}
    )
    for n in range(3):
        store.write(VIEW, KEY, [rows.slice(n, 1)])
    assert store.rows(VIEW, KEY, ["a"]) == [{"as_of": 5}]


def test_of_rows_about_the_same_in_one_batch_the_newest_is_written(store):
    both = pa.Table.from_batches([batch({"a": ["new"]}, 7, 1), batch({"a": ["old"]}, 6, 1)])
    told = store.write(VIEW, KEY, both.combine_chunks().to_batches())
    assert (told, items(store, "a")) == (Written(rows=1, stale=1), [["new"]])


def test_a_merge_sees_both_rows_where_the_stored_one_has_changed_since(store):
    store.write(VIEW, KEY, [batch({"a": ["old"], "b": ["old"]}, 5, 5)])
    store.update(VIEW, KEY, {"a": appending("streamed", 9, created=8)})
    seen = []

    def merge(snapshot, stored):
        seen.append((snapshot["item_ids"], stored["item_ids"], stored["created"]))
        return {**snapshot, "item_ids": snapshot["item_ids"] + stored["item_ids"][1:]}

    told = store.write(VIEW, KEY, [batch({"a": ["new"], "b": ["new"]}, 6, 7)], merge)
    assert told == Written(rows=2, merged=1)
    assert seen == [(["new"], ["old", "streamed"], at(8))]
    assert items(store, "a", "b") == [["new", "streamed"], ["new"]]


def test_with_a_merge_a_snapshot_that_was_read_earlier_than_the_stored_one_is_stale(store):
    store.write(VIEW, KEY, [batch({"a": ["new"]}, 5, 5)])
    store.update(VIEW, KEY, {"a": appending("streamed", 9)})
    assert store.write(VIEW, KEY, [batch({"a": ["old"]}, 8, 4)], lambda s, _: s).stale == 1
    assert items(store, "a") == [["new", "streamed"]]


def test_a_merged_write_may_be_repeated(store):
    store.write(VIEW, KEY, [batch({"a": ["1"], "b": ["1"]}, 1, 1)])
    store.update(VIEW, KEY, {"a": appending("2", 3)})

    def union(snapshot, stored):
        both = sorted({*snapshot["item_ids"], *stored["item_ids"]})
        return {**snapshot, "item_ids": both, "event_timestamp": stored["event_timestamp"]}

    # What stands on this very snapshot already is left alone.
    for wanted in (Written(rows=2, merged=1), Written(rows=1, stale=1)):
        told = store.write(VIEW, KEY, [batch({"a": ["1"], "b": ["1"]}, 2, 2)], union)
        assert (told, items(store, "a", "b")) == (wanted, [["1", "2"], ["1"]])


def test_replacing_does_not_ask_for_the_age(store):
    store.write(VIEW, KEY, [batch({"a": ["late"]}, 9, 9)])
    assert store.write(VIEW, KEY, [batch({"a": ["early"]}, 1, 1)], replace) == Written(rows=1)
    assert items(store, "a") == [["early"]]


def test_an_update_reads_changes_and_writes(store):
    store.write(VIEW, KEY, [batch({"a": ["x"], "b": ["x"]}, 5, 5)])
    seen = {}

    def leave(row):
        seen.update(row)

    store.update(VIEW, KEY, {"a": appending("y", 6), "new": appending("z", 1), "b": leave})
    assert items(store, "a", "b", "new") == [["x", "y"], ["x"], ["z"]]
    assert (seen["event_timestamp"], seen["created"], seen["times"]) == (at(5), at(5), [5])


def test_features_that_an_update_does_not_name_stay(store):
    store.write(VIEW, KEY, [batch({"a": ["x"]}, 5, 5)])
    store.update(VIEW, KEY, {"a": lambda row: {"as_of": 6, "event_timestamp": at(6)}})
    assert store.rows(VIEW, KEY, ["a"]) == [{"item_ids": ["x"], "times": [5], "as_of": 6}]


def test_an_update_that_fails_leaves_every_row_as_it_was(store):
    store.write(VIEW, KEY, [batch({"a": ["x"], "b": ["x"]}, 5, 5)])
    with pytest.raises(ZeroDivisionError):
        store.update(VIEW, KEY, {"a": appending("y", 6), "b": lambda row: 1 // 0})
    assert items(store, "a", "b") == [["x"], ["x"]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"item_ids": ["x"]}, "has no event_timestamp"),
        ({"event_timestamp": 5}, "no datetime"),
        ({"event_timestamp": at(1), "as_of": "late"}, "as_of: 'late' can't be kept as int64"),
        ({"event_timestamp": at(1), "times": [1, None]}, "times: .* can't be kept as int64_list"),
        ({"event_timestamp": at(1), "colour": "red"}, "has no feature 'colour'"),
    ],
)
def test_a_row_that_cannot_be_kept_is_refused_by_name(store, row, said):
    store.declare(VIEW, KEY, KINDS)
    with pytest.raises(FeatureError, match=said):
        store.update(VIEW, KEY, {"somebody": lambda _: row})
    assert items(store, "somebody") == [None]


def test_a_declared_view_is_known_and_empty(store):
    store.declare(VIEW, KEY, KINDS)
    store.declare(VIEW, KEY, KINDS)
    assert (store.views(), list(store.ids(VIEW)), items(store, "a")) == ([VIEW], [], [None])
    store.update(VIEW, KEY, {"a": appending("x", 1)})
    store.declare(VIEW, KEY, {**KINDS, "more": "float"})
    assert items(store, "a") == [["x"]]


def test_a_view_that_nobody_declared_is_said(store):
    for ask in (
        lambda: store.rows("nothing", KEY, ["a"]),
        lambda: store.rows("nothing", KEY, ["a"], ["item_ids"]),
        lambda: list(store.ids("nothing")),
        lambda: store.update("nothing", KEY, {"a": appending("x", 1)}),
    ):
        with pytest.raises(FeatureError, match=r"nothing|no feature store"):
            ask()


def test_removed_rows_are_gone_and_counted_and_the_other_views_of_the_user_stay(store):
    store.write(VIEW, KEY, [batch({"a": ["x"], "b": ["x"]}, 5, 5)])
    store.write("user_profile", KEY, [batch({"a": ["p"]}, 5, 5)])
    assert store.remove(VIEW, KEY, ["a", "stranger"]) == 1
    assert items(store, "a", "b") == [None, ["x"]]
    assert store.rows("user_profile", KEY, ["a"], ["item_ids"]) == [{"item_ids": ["p"]}]
    assert store.remove(VIEW, KEY, ["a"]) == 0


def test_whoever_no_later_snapshot_held_is_removed_but_for_what_was_streamed_since(store):
    store.write(VIEW, KEY, [batch({n: ["x"] for n in ("in", "out", "busy", "left")}, 1, 1)])
    store.update(VIEW, KEY, {"in": appending("s", 9), "busy": appending("s", 9)})
    store.update(
        VIEW, KEY, {"only streamed": appending("s", 9), "streamed long ago": appending("o", 1)}
    )
    store.write(VIEW, KEY, [batch({"in": ["y"]}, 2, 2)], lambda new, old: new)

    def remainder(row):
        since = [each for each in row["item_ids"] if each == "s"]
        return {**row, "item_ids": since} if since else None

    assert store.retain(VIEW, KEY, at(2), remainder) == 3
    assert {each: items(store, each)[0] for each in set(store.ids(VIEW))} == {
        "in": ["y"],
        "busy": ["s"],
        "only streamed": ["s"],
    }
    assert store.retain(VIEW, KEY, at(2)) == 2
    assert list(store.ids(VIEW)) == ["in"]


def test_projects_and_views_leave_each_other_alone(open_project):
    ours, theirs = open_project("shop"), open_project("my_shop")
    # The end of one project's keys could be taken for the other's.
    for store, name in ((ours, "ours"), (theirs, "theirs")):
        store.write(VIEW, KEY, [batch({"u": [name], "umy_": [name]}, 1, 1)])
    assert sorted(ours.ids(VIEW)) == sorted(theirs.ids(VIEW)) == ["u", "umy_"]
    assert ours.retain(VIEW, KEY, at(5)) == 2
    assert (list(ours.ids(VIEW)), items(theirs, "u", "umy_")) == ([], [["theirs"]] * 2)
    ours.drop(VIEW)
    ours.drop(VIEW)
    assert (ours.views(), theirs.views()) == ([], [VIEW])
    ours.close()
    theirs.close()


def test_extreme_values_come_back_as_they_were(store):
    extremes = {
        "i32": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
        "i64": pa.array([-(2**63), 2**63 - 1, 0], pa.int64()),
        "f32": pa.array([float("nan"), float("-inf"), -0.0], pa.float32()),
        "f64": pa.array([float("nan"), None, 1.7976931348623157e308], pa.float64()),
        "yes": pa.array([True, False, None]),
        "text": pa.array(["", None, "日本 ‮\0 ü" + "x" * 300]),
        "i32s": pa.array([[-(2**31), 2**31 - 1, 0], None, []], pa.list_(pa.int32())),
        "i64s": pa.array([[-(2**63), 2**63 - 1], [], [0] * 300], pa.list_(pa.int64())),
        "f32s": pa.array([[float("inf"), -0.0], [], None], pa.list_(pa.float32())),
        "f64s": pa.array([[5e-324], None, []], pa.list_(pa.float64())),
        "flags": pa.array([[True, False], [], None], pa.list_(pa.bool_())),
        "texts": pa.array([["", "ü" * 200], [], None], pa.list_(pa.string())),
    }
    moment = pa.array([at(1)] * 3, pa.timestamp("ms", tz="Asia/Shanghai"))
    ids = ["", "a'b\"c;--\n", "日本\r\n$3"]
    store.write("odd", KEY, [pa.record_batch({KEY: ids, **extremes, "event_timestamp": moment})])
    for n, row in enumerate(store.rows("odd", KEY, ids)):
        wanted = {name: column[n].as_py() for name, column in extremes.items()}
        assert {name: repr(value) for name, value in row.items()} == {
            name: repr(value) for name, value in wanted.items()
        }
    assert math.isnan(store.rows("odd", KEY, [""])[0]["f64"])
    assert sorted(store.ids("odd")) == sorted(ids)


def test_rows_that_a_store_cannot_keep_are_refused_and_nothing_is_half_written(store):
    good = batch({"a": ["x"]}, 5, 5)
    store.write(VIEW, KEY, [good])
    moments = pa.array([at(9)], pa.timestamp("us", tz="UTC"))
    holes = pa.array([["y", None]], pa.list_(pa.string()))
    for column, said in (
        ({"item_ids": holes}, "1 nulls inside the lists of item_ids, first in row 0"),
        ({"item_ids": pa.array([at(1)])}, "type timestamp"),
        ({KEY: pa.array([1])}, "user_id is of the type int64, not text"),
        ({KEY: pa.array([None], pa.string())}, "1 rows have no user_id"),
        ({"event_timestamp": pa.array([None], moments.type)}, "1 rows have no event_timestamp"),
        ({"event_timestamp": pa.array([5])}, "event_timestamp is of the type int64"),
    ):
        row = {KEY: pa.array(["a"]), "item_ids": [["y"]], "event_timestamp": moments}
        with pytest.raises(FeatureError, match=said):
            store.write(VIEW, KEY, [pa.record_batch({**row, **column})])
    with pytest.raises(FeatureError, match="event_timestamp are needed"):
        store.write(VIEW, KEY, [pa.record_batch({KEY: ["a"]})])
    assert store.rows(VIEW, KEY, ["a"])[0]["item_ids"] == ["x"]
