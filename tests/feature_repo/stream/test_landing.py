"""Events land whole, in files that are never changed; readers take each first delivery."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_by_hand import tables

from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import LANDED, Landing
from feature_repo.stream.union import with_landed
from recommender.errors import FeatureError, StorageError
from recommender.tables import EVENTS


def event(name: str, time: int = 1_000, user: str = "u1", item: str = "a", **more) -> StreamEvent:
    return StreamEvent(name, user, item, "click", time, **more)


def names(landing: Landing) -> list[str]:
    return landing.read().events["event_id"].to_pylist()


def test_what_lands_is_read_with_every_field(landing):
    first = event("e1", 2_000, value=4.5, surface="home", position=3, propensity=0.25)
    landing.land([first, event("e0", 1_000)], 9_000)
    read = landing.read()
    assert read.events.schema == LANDED
    rows = read.events.select(EVENTS.names).cast(
        pa.schema(
            [EVENTS.field(n) if n != "time" else pa.field("time", pa.int64()) for n in EVENTS.names]
        )
    )
    assert [StreamEvent(*row.values()) for row in rows.to_pylist()] == [event("e0", 1_000), first]
    assert read.events["arrival"].cast(pa.int64()).to_pylist() == [9_000, 9_000]


def test_nothing_has_landed_at_first(landing):
    assert landing.read().events.num_rows == 0
    assert (landing.files(), landing.compact(), landing.remove(["u1"])) == (0, 0, 0)
    landing.land([], 5)
    assert landing.files() == 0


def test_of_several_deliveries_the_first_counts(landing):
    landing.land([event("e1", item="late")], 20)
    landing.land([event("e1", item="first"), event("e1", item="second")], 10)
    landing.land([event("e1", item="first")], 30)
    read = landing.read()
    assert read.events["item_id"].to_pylist() == ["first"]
    assert (read.repeated, read.conflicting) == (3, 2)


def test_the_watermark_is_before_the_reading(landing):
    import time

    before = time.time_ns() // 1_000_000
    assert before <= landing.read().read_ms <= time.time_ns() // 1_000_000


def test_compaction_keeps_every_event_once_and_leaves_one_file(landing):
    for n in range(6):
        landing.land([event(f"e{n}", n), event("again", 99, item=f"i{n}")], 100 + n)
    before = landing.read().events
    assert landing.compact() == 6
    assert landing.files() == 1
    after = landing.read()
    assert after.events.equals(before)
    assert after.repeated == 0
    assert landing.compact() == 0
    # What comes later than the compaction does not win over what was joined.
    landing.land([event("again", 99, item="later")], 50_000)
    assert landing.read().events.equals(before)


def test_a_reader_never_misses_an_event_while_files_are_joined(landing):
    for n in range(40):
        landing.land([event(f"e{n:02}", n)], n)
    wanted, stop, seen = 40, threading.Event(), []

    def compacting():
        while not stop.is_set():
            landing.compact()
            for n in range(3):
                landing.land([event(f"e{n:02}", n)], 1_000)

    threads = [threading.Thread(target=compacting) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        seen = [len(names(landing)) for _ in range(30)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) == {wanted}


def test_a_compaction_that_is_killed_loses_nothing(landing, tmp_path):
    for n in range(5):
        landing.land([event(f"e{n}", n)], n)
    script = """
import os, signal, sys
from feature_repo.stream.landing import Landing
from recommender.storage.local import FileStore
FileStore.delete = lambda self, key: os.kill(os.getpid(), signal.SIGKILL)
Landing(sys.argv[1]).compact()
"""
    ran = subprocess.run([sys.executable, "-c", script, str(tmp_path / "offline")], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert landing.files() == 6
    assert names(landing) == [f"e{n}" for n in range(5)]
    landing.compact()
    assert landing.files() == 1


def test_a_person_is_removed_with_every_event(landing):
    landing.land([event("e1", user="u1"), event("e2", user="u2")], 5)
    landing.land([event("e3", user="u1")], 6)
    landing.compact()
    landing.land([event("e4", user="u1")], 7)
    assert landing.remove(["u1", "nobody"]) == 3
    assert names(landing) == ["e2"]
    assert not any(b"u1" in path.read_bytes() for path in Path(landing.location).iterdir())


def test_a_full_disk_is_said_and_leaves_nothing_half_written(landing):
    landing.land([event("e0")], 1)
    letters = random.Random(0)
    many = [event("".join(letters.choices("abcdefgh", k=40)), n) for n in range(3_000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            landing.land(many, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(landing) == ["e0"]
    landing.land(many, 2)
    assert len(names(landing)) == 3_001


@pytest.mark.parametrize("content", [b"", b"no parquet", None])
def test_a_damaged_file_is_named(landing, content):
    landing.land([event("e0")], 1)
    path = Path(landing.location) / "e-000000000000002-abc.parquet"
    if content is None:
        pq.write_table(pa.table({"other": [1]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(FeatureError, match=r"e-000000000000002-abc\.parquet does not hold landed"):
        landing.read()


def test_events_land_on_s3_as_well(s3_bucket):
    landing = Landing(f"s3://{s3_bucket}/shop/live")
    landing.land([event("e1"), event("e2")], 5)
    landing.land([event("e2"), event("e3", user="u2")], 6)
    assert names(landing) == ["e1", "e2", "e3"]
    assert landing.compact() == 2
    assert (names(landing), landing.files()) == (["e1", "e2", "e3"], 1)
    assert landing.remove(["u2"]) == 1
    assert names(landing) == ["e1", "e2"]


def test_batch_and_stream_are_one_log(landing):
    batch = tables(
        [("u1", "a", "click", 1_000, None, "e1"), ("u2", "b", "click", 3_000, None, "e3")]
    )
    landing.land([event("e2", 2_000, "new"), event("e1", 5_000, item="b")], 7_000)
    landing.land([event("e4", 4_000, item="unlisted")], 8_000)
    landing.land([StreamEvent("e5", "u1", "a", "hover", 4_000)], 8_000)
    made = with_landed(batch, landing.read(), ("click", "purchase"))
    assert made.tables.events["event_id"].to_pylist() == ["e1", "e2", "e3"]
    # The batch's own copy of e1 stays.
    assert made.tables.events["item_id"].to_pylist() == ["a", "a", "b"]
    assert made.tables.events.schema == EVENTS
    assert (made.added, made.unknown_items, made.unknown_types) == (1, 1, 1)


def test_without_landed_events_the_tables_stay_as_they_are(landing):
    batch = tables([("u1", "a", "click", 1_000)])
    made = with_landed(batch, landing.read(), ("click",))
    assert made.tables.events is batch.events
    assert made.added == 0
