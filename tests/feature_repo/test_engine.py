"""`feast materialize` writes through our engine: the same values, newer rows safe, killable."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_by_hand import tables

from feature_repo.engine import SnapshotEngine
from feature_repo.locations import offline_folder
from feature_repo.offline import write_snapshot
from feature_repo.profile import read_profile
from feature_repo.sdk import open_store, speaking_plainly
from feature_repo.store import publish
from feature_repo.stores import open_online
from recommender.errors import FeatureError
from recommender.features.snapshots import KEYS

VIEW, KEY = "user_sequence", "user_id"
EVENTS = [("u1", "a", "click", 1_000), ("u1", "b", "purchase", 2_457), ("u2", "b", "click", 3_000)]
BROUGHT = ("item_text", "item_attributes", "user_profile", "user_activity", "user_sequence")
WHOLE = timedelta(days=1)


@pytest.fixture(params=["embedded", pytest.param("production", marks=pytest.mark.needs_redis)])
def profile(request) -> str:
    if request.param == "production":
        request.getfixturevalue("production")
    return request.param


@pytest.fixture
def published(profile, config):
    publish(config, tables(EVENTS, ["a", "b"]), 5_000, "live")
    return config


def location(config) -> str:
    return read_profile().offline_location(config.paths.features, "by_hand")


def snapshot(config, view=VIEW) -> pa.Table:
    return pq.read_table(f"{location(config)}/{view}.parquet")


def materialize(config, start_ms=0, end_ms=10_000, views=(VIEW,)):
    store = open_store(config.paths, "by_hand")
    with speaking_plainly(config.paths):
        start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (start_ms, end_ms))
        store.materialize(start, end, list(views))
    return store


def with_column(table: pa.Table, name: str, column) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, column)


def moved(table: pa.Table, later: timedelta, column="event_timestamp") -> pa.Table:
    moments = pa.array([each + later for each in table[column].to_pylist()], table[column].type)
    return with_column(table, column, moments)


def online_rows(config, ids=("u1", "u2"), view=VIEW, key=KEY):
    with closing(open_online(config.paths, "by_hand")) as store:
        return store.rows(view, key, list(ids))


def test_the_profile_names_the_engine(published):
    store = open_store(published.paths, "by_hand")
    assert isinstance(store._get_provider().batch_engine, SnapshotEngine)


def test_an_emptied_store_is_filled_from_the_snapshots_value_for_value(published, read_with_sdk):
    ids = {KEY: ["u1", "u2", "nobody"], "item_id": ["a", "b", "none"]}
    before = {
        view: repr(read_with_sdk(published, "by_hand", view, KEYS[view], ids[KEYS[view]]))
        for view in BROUGHT
    }
    with closing(open_online(published.paths, "by_hand")) as store:
        for view in BROUGHT:
            assert store.remove(view, KEYS[view], ids[KEYS[view]]) == 2
            assert online_rows(published, ids[KEYS[view]], view, KEYS[view]) == [None] * 3
    opened = materialize(published, views=BROUGHT)
    for view in BROUGHT:
        read = read_with_sdk(published, "by_hand", view, KEYS[view], ids[KEYS[view]])
        assert repr(read) == before[view]
        start, end = opened.get_feature_view(view).materialization_intervals[-1]
        assert (start.timestamp(), end.timestamp()) == (0, 10)


def test_only_rows_of_the_span_are_brought(published):
    with closing(open_online(published.paths, "by_hand")) as store:
        store.remove(VIEW, KEY, ["u1", "u2"])
    table = snapshot(published)
    late = moved(table.slice(1, 1), WHOLE)
    write_snapshot(location(published), VIEW, pa.concat_tables([table.slice(0, 1), late]))
    materialize(published)
    assert [row and row["as_of"] for row in online_rows(published)] == [5_000, None]


def test_older_snapshots_leave_newer_rows_alone_and_later_corrections_win(published):
    table = snapshot(published)
    as_of = lambda n: with_column(table, "as_of", pa.array([n] * table.num_rows))  # noqa: E731
    second = timedelta(seconds=1)
    for snap, seen in (
        (moved(as_of(6_001), -3 * second), 5_000),
        (moved(as_of(6_002), -second, "created"), 5_000),
        (moved(as_of(6_003), second, "created"), 6_003),
        (moved(moved(as_of(6_004), 4 * second), second, "created"), 6_004),
    ):
        write_snapshot(location(published), VIEW, snap)
        materialize(published)
        assert {row["as_of"] for row in online_rows(published)} == {seen}


def test_of_several_rows_about_a_user_the_newest_is_there_afterwards(published):
    table = snapshot(published)
    newest = with_column(moved(table, timedelta(seconds=4)), "as_of", pa.array([9_000] * 2))
    middle = with_column(moved(table, timedelta(seconds=2)), "as_of", pa.array([7_000] * 2))
    write_snapshot(location(published), VIEW, pa.concat_tables([middle, newest, table]))
    materialize(published)
    assert [row["as_of"] for row in online_rows(published)] == [9_000, 9_000]


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("times", [["soon"], ["late"]], "the column times of the snapshot is of the type list"),
        ("item_ids", [["a", None], ["b"]], "1 nulls inside the lists of item_ids"),
    ],
)
def test_a_snapshot_that_cannot_be_kept_is_said_and_changes_nothing(published, name, column, said):
    before = repr(online_rows(published))  # NaN is not equal to itself
    broken = moved(with_column(snapshot(published), name, pa.array(column)), timedelta(seconds=2))
    write_snapshot(location(published), VIEW, broken)
    with pytest.raises(FeatureError, match=said):
        materialize(published)
    assert repr(online_rows(published)) == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "there is no snapshot at"),
        (lambda path: path.write_bytes(b"PAR1 but no more"), "can't be read"),
        (
            lambda path: pq.write_table(pq.read_table(path).drop_columns(["times"]), path),
            "lacks the columns times",
        ),
    ],
)
def test_a_snapshot_that_is_missing_or_damaged_is_said_with_its_place(published, spoil, said):
    path = Path(location(published)) / f"{VIEW}.parquet"
    spoil(path)
    with pytest.raises(FeatureError, match=said) as told:
        materialize(published)
    assert str(path) in told.value.message


def test_a_source_of_many_files_is_read_through_the_offline_store(config, capfd):
    from feast import FeatureView, Field, FileSource
    from feast.types import Array, Int64, String

    from feature_repo.entities import USER

    publish(config, tables(EVENTS, ["a", "b"]), 5_000, "live")
    folder = config.paths.features / "parts"
    folder.mkdir()
    for n in range(2):
        pq.write_table(snapshot(config).slice(n, 1), folder / f"{n}.parquet")
    view = FeatureView(
        name="from_parts",
        entities=[USER],
        schema=[
            Field(name="times", dtype=Array(Int64)),
            Field(name="actions", dtype=Array(String)),
        ],
        source=FileSource(path=f"{folder}/*.parquet", timestamp_field="event_timestamp"),
    )
    store = open_store(config.paths, "by_hand")
    with speaking_plainly(config.paths):
        store.apply([view])
        capfd.readouterr()
        store.materialize(datetime(1970, 1, 1, tzinfo=UTC), datetime(1971, 1, 1), ["from_parts"])
    assert capfd.readouterr().out == ""
    assert online_rows(config, view="from_parts") == [
        {"times": [1_000, 2_457], "actions": ["click", "purchase"]},
        {"times": [3_000], "actions": ["click"]},
    ]


def test_null_and_empty_arrays_and_longer_ones_than_usual_are_kept_as_they_are(
    published, read_with_sdk
):
    lists = pa.array([[f"i{n}" for n in range(5_000)], None], pa.list_(pa.string()))
    times = pa.array([list(range(5_000)), []], pa.list_(pa.int64()))
    second = timedelta(seconds=1)
    table = moved(moved(snapshot(published), second), second, "created")
    table = with_column(with_column(table, "item_ids", lists), "times", times)
    write_snapshot(location(published), VIEW, table)
    materialize(published)
    ours = [{name: row[name] for name in ("item_ids", "times")} for row in online_rows(published)]
    theirs = read_with_sdk(published, "by_hand", VIEW, KEY, ["u1", "u2"])
    assert ours == [{name: row[name] for name in ("item_ids", "times")} for row in theirs]
    assert (len(ours[0]["item_ids"]), ours[1]) == (5_000, {"item_ids": None, "times": []})


KILLED = """
import os, pathlib, signal, sys
sys.path[:0] = sys.argv[1:3]
import pyarrow.parquet as pq
from tables_by_hand import configuration
from feature_repo.stores import rows, snapshot_rows
from test_engine import materialize

# The machine goes away when a third of the rows are on their way.
encode, left = snapshot_rows._encoded, [2]

def dying(*given):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(*given)

snapshot_rows._encoded = dying
materialize(configuration(pathlib.Path(sys.argv[3])), end_ms=100_000)
"""


@pytest.mark.slow
def test_a_killed_materialization_leaves_whole_rows_and_a_second_one_finishes(published, profile):
    many = [(f"u{n:05}", "ab"[n % 2], "click", n) for n in range(5_000)]
    publish(published, tables(many, ["a", "b"]), 20_000, "live")
    users = sorted({event[0] for event in many})
    newer = moved(snapshot(published), timedelta(seconds=30))
    write_snapshot(
        location(published), VIEW, with_column(newer, "as_of", pa.array([50_000] * len(users)))
    )
    child = subprocess.run(
        [
            *(sys.executable, "-c", KILLED, str(Path(__file__).parents[1])),
            *(str(Path(__file__).parent), str(published.paths.root)),
        ],
        capture_output=True,
        text=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    held = online_rows(published, users)
    moments = {row["as_of"] for row in held}
    # SQLite: all of a view or nothing. Redis: row by row.
    assert moments == ({20_000} if profile == "embedded" else {20_000, 50_000})
    for n, row in enumerate(held):
        assert (row["item_ids"], row["times"]) == (["ab"[n % 2]], [n])
    intervals = open_store(published.paths, "by_hand").get_feature_view(VIEW)
    assert len(intervals.materialization_intervals) == 2

    materialize(published, end_ms=100_000)
    assert {row["as_of"] for row in online_rows(published, users)} == {50_000}


@pytest.mark.slow
def test_memory_stays_bounded_however_large_the_snapshot(config, tmp_path):
    """The peak of a child that brings 4 × as many rows is not much higher."""
    publish(config, tables(EVENTS, ["a", "b"]), 5_000, "live")
    one = snapshot(config).slice(0, 1)
    peaks = []
    for users in (20_000, 80_000):
        wide = pa.table(
            {
                name: pa.array([f"u{n:06}" for n in range(users)])
                if name == KEY
                else pa.chunked_array([pa.array([["x" * 30] * 30] * users)])
                if name == "item_ids"
                else one[name].take(pa.array([0] * users))
                for name in one.schema.names
            }
        )
        folder = offline_folder(config.paths.features, "by_hand")
        pq.write_table(wide, folder / "user_sequence.parquet", row_group_size=5_000)
        program = (
            "import pathlib, sys; sys.path[:0] = sys.argv[1:3]\n"
            "from tables_by_hand import configuration\n"
            "from test_engine import materialize\n"
            "materialize(configuration(pathlib.Path(sys.argv[3])))\n"
            # Not `getrusage`: that counts what the parent held before the child was one of its own.
            "told = dict(line.split(':') for line in open('/proc/self/status'))\n"
            "print(int(told['VmHWM'].split()[0]) // 1024)"
        )
        here = Path(__file__)
        words = [str(here.parents[1]), str(here.parent), str(config.paths.root)]
        ran = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
        )
        peaks.append(int(ran.stdout))
    # 60,000 more rows are 60 MB of text, and several times that as objects or frames.
    assert peaks[1] - peaks[0] < 60
