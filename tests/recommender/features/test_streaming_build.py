"""A log that is built bucket by bucket gives the rows of the log that is built as a whole."""

from __future__ import annotations

import resource
import tracemalloc
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_by_hand import ACTIONS, event_table

from recommender.config.actions import ActionsConfig
from recommender.config.build import BuildConfig
from recommender.errors import FeatureError, StorageError
from recommender.features.buckets import MOST, bucket_of, divided, parts
from recommender.features.latest import sequences, stamped
from recommender.features.sequences import Catalogue, EventLog
from recommender.features.streaming_build import Wanted, bucket_count, latest_sequences

ACTIONS_CONFIG = ActionsConfig.model_validate(ACTIONS)
CATALOGUE = Catalogue(("a", "b", "c"))
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVENT = st.tuples(
    st.one_of(st.sampled_from(["u1", "u2", "ü"]), st.text("uvü\0", max_size=3)),
    st.sampled_from(CATALOGUE.ids),
    st.sampled_from(ACTIONS_CONFIG.types),
    st.integers(-3, 6),
    st.one_of(st.none(), st.floats(-5, 5, width=32)),
)


def wanted(as_of: int, limit: int = 4) -> Wanted:
    return Wanted(CATALOGUE, ACTIONS_CONFIG, limit, as_of, CREATED)


def rows_of(batches):
    """Rows by user; text, because NaN is not equal to itself."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert max(Counter(row["user_id"] for row in rows).values(), default=1) == 1
    return {row["user_id"]: repr(row) for row in rows}


def as_a_whole(events, asked):
    log = EventLog.build(events, asked.catalogue, asked.actions, event_ids=True)
    histories = log.of_types(asked.actions.histories, asked.actions)
    items = pa.chunked_array([asked.catalogue.array])
    made = sequences(histories, items, asked.actions.types, asked.as_of, asked.limit)
    return rows_of(stamped(made, asked.as_of, CREATED).to_batches())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(EVENT, max_size=25), st.integers(-4, 8), st.integers(1, 30))
def test_buckets_of_any_size_give_the_rows_of_the_whole(tmp_path, events, as_of, each):
    table = event_table(events)
    asked = wanted(as_of)
    files = []
    for n in range(3):
        part = table.slice(n * len(events) // 3, (n + 1) * len(events) // 3 - n * len(events) // 3)
        files.append(tmp_path / f"{n}.parquet")
        pq.write_table(part, files[-1], row_group_size=2)
    expected = as_a_whole(table, asked)
    build = BuildConfig(events_per_bucket=each)
    assert rows_of(latest_sequences(table, asked, build)) == expected
    assert rows_of(latest_sequences(files, asked, build)) == expected


def test_no_events_give_one_empty_batch_with_every_column(tmp_path):
    empty = event_table([])
    pq.write_table(empty, tmp_path / "none.parquet")
    for events in (empty, tmp_path / "none.parquet"):
        (batch,) = latest_sequences(events, wanted(5))
        assert batch.num_rows == 0
        assert {"user_id", "event_ids", "arrivals", "as_of", "created"} <= set(batch.schema.names)


@given(st.lists(st.text(max_size=5), max_size=40), st.integers(1, 9))
def test_a_user_is_in_one_bucket_however_the_events_come(users, buckets):
    alone = [int(bucket_of(pa.chunked_array([[user]]), buckets)[0]) for user in users]
    together = bucket_of(pa.chunked_array([users], pa.string()), buckets)
    sliced = bucket_of(pa.chunked_array([pa.array(["x", *users]).slice(1)]), buckets)
    assert together.tolist() == alone == sliced.tolist()
    assert all(bucket < buckets for bucket in alone)


def test_the_bucket_of_an_id_is_the_same_on_every_machine_and_in_every_version():
    def by_hand(user):
        whole = 2**64 - 1
        mixed = 0
        for place, byte in enumerate(user.encode(), 1):
            mixed += (byte + 1) * 0x100000001B3**place
        mixed &= whole
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & whole
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & whole
        return (mixed ^ mixed >> 31) % 1000

    users = ["", "u00042", "李", "e\0"]
    assert bucket_of(pa.chunked_array([users]), 1000).tolist() == [0, 776, 337, 485]
    assert [by_hand(user) for user in users] == [0, 776, 337, 485]


@pytest.mark.parametrize("name", ["u{:07}", "{}", "https://shop.example/people/{}/profile"])
def test_buckets_get_about_equally_many_users(name):
    users = pa.chunked_array([[name.format(n) for n in range(64_000)]])
    counts = np.bincount(bucket_of(users, 64), minlength=64)
    # Poisson: a standard deviation of √1000 ≈ 32; six of them.
    assert abs(counts - 1000).max() < 190


def test_dividing_loses_nothing_and_keeps_the_order():
    events = event_table([(f"u{n % 17}", "a", "click", n) for n in range(200)])
    pieces = divided(events, 5)
    assert sorted(pa.concat_tables(pieces)["event_id"].to_pylist()) == sorted(
        events["event_id"].to_pylist()
    )
    for piece in pieces:
        times = piece["time"].cast(pa.int64()).to_pylist()
        assert times == sorted(times)


def test_memory_follows_the_bucket_and_not_the_log(tmp_path):
    def most(total: int, each: int) -> int:
        """Most bytes at any time: NumPy's and Python's are traced, Arrow's told by its pool."""
        made = event_table([(f"u{n % 997}", "abc"[n % 3], "click", n) for n in range(total)])
        path = tmp_path / "events.parquet"
        pq.write_table(made, path, row_group_size=5_000)
        del made
        pool = pa.default_memory_pool()
        before, highest = pool.bytes_allocated(), 0
        tracemalloc.start()
        for batch in latest_sequences(path, wanted(total), BuildConfig(events_per_bucket=each)):
            highest = max(highest, pool.bytes_allocated() - before)
            del batch
        _, traced = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest + traced

    most(10, 5)  # what is imported on the way is not counted
    assert most(160_000, 10_000) < 1.5 * most(40_000, 10_000)
    assert most(160_000, 160_000) > 3 * most(160_000, 10_000)


@pytest.mark.parametrize("each", [1, 100])
def test_an_unknown_item_and_a_missing_user_are_told_by_every_path(each):
    build = BuildConfig(events_per_bucket=each)
    with pytest.raises(FeatureError, match=r"name items that the catalogue lacks, e\.g\. 'x'"):
        list(latest_sequences(event_table([("u", "x", "click", 1)] * 3), wanted(5), build))
    events = event_table([("u", "a", "click", 1), ("v", "a", "click", 1)])
    nobody = events.set_column(1, "user_id", pa.array([None, "v"], pa.string()))
    with pytest.raises(FeatureError, match="events have no user_id"):
        list(latest_sequences(nobody, wanted(5), build))


def test_a_missing_or_damaged_file_is_told_by_name(tmp_path):
    with pytest.raises(StorageError, match=r"none\.parquet"):
        list(latest_sequences(tmp_path / "none.parquet", wanted(5)))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(StorageError, match=r"bad\.parquet"):
        list(latest_sequences(tmp_path / "bad.parquet", wanted(5)))
    pq.write_table(pa.table({"user_id": ["u"]}), tmp_path / "other.parquet")
    with pytest.raises(StorageError, match=r"other\.parquet"):
        list(parts(tmp_path / "other.parquet"))


def test_a_full_disk_is_told_with_what_to_do():
    events = event_table([(f"u{n}", "a", "click", n) for n in range(2_000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(StorageError, match="can't be divided") as told:
            list(latest_sequences(events, wanted(5), BuildConfig(events_per_bucket=1_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "TMPDIR" in told.value.hint


def test_nothing_is_left_behind_when_the_rows_are_not_taken_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events = event_table([(f"u{n}", "a", "click", n) for n in range(40)])
    batches = latest_sequences(events, wanted(99), BuildConfig(events_per_bucket=2))
    next(batches)
    assert list(tmp_path.iterdir())
    batches.close()
    assert not list(tmp_path.iterdir())


def test_more_buckets_than_possible_are_refused():
    with pytest.raises(FeatureError, match="events_per_bucket"):
        bucket_count(MOST + 1, 1)
    assert bucket_count(0, 5) == bucket_count(5, 5) == 1
