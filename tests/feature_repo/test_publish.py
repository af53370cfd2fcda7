"""Publishing is repeatable, replaces what is no longer true, and survives being cut off."""

from __future__ import annotations

import logging
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tables_by_hand import tables

from feature_repo.locations import offline_folder, online_db, registry_db
from feature_repo.online import OnlineFeatures
from feature_repo.store import open_store, project_name, publish
from recommender.errors import FeatureError, StorageError
from recommender.features.snapshots import up_to_now

ITEMS = ["a", "b", "c"]
EVENTS = [
    ("u1", "a", "click", 1_000),
    ("u1", "b", "purchase", 2_000),
    ("u2", "c", "click", 3_000),
    ("u1", "c", "click", 4_000),
]


def histories(config, lane="live") -> dict[str, tuple]:
    with OnlineFeatures(config.paths, project_name(config, lane)) as store:
        return {
            user: (history.item_ids, history.as_of_ms)
            for user in store.users()
            if (history := store.user_history(user))
        }


def content(path: Path) -> dict[str, list]:
    """Every row of a SQLite file but the moments at which it was written."""
    with closing(sqlite3.connect(path)) as store:
        names = [
            name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        told = {}
        for name in names:
            columns = [
                row[1]
                for row in store.execute(f'PRAGMA table_info("{name}")')
                if row[1] not in ("created_ts", "vector_value", "last_updated_timestamp")
                and not row[1].endswith(("_proto", "metadata_value"))
            ]
            chosen = ", ".join(f'"{column}"' for column in columns)
            told[name] = sorted(map(repr, store.execute(f'SELECT {chosen} FROM "{name}"')))
        return told


def test_the_report_says_what_was_published(config):
    made = tables(EVENTS, ITEMS)
    report = publish(config, made, 4_000, "rehearsal")
    assert (report.project, report.as_of_ms) == ("by_hand_rehearsal", 4_000)
    assert (report.users, report.items, report.events, report.removed) == (2, 3, 3, 0)


def test_up_to_now_sees_the_last_event(config):
    made = tables(EVENTS, ITEMS)
    publish(config, made, up_to_now(made), "live")
    assert histories(config) == {"u1": (("a", "b", "c"), 4_001), "u2": (("c",), 4_001)}


def test_up_to_now_needs_events():
    with pytest.raises(FeatureError, match="no events"):
        up_to_now(tables([], ITEMS))


def test_a_second_publication_changes_nothing(config):
    made = tables(EVENTS, ITEMS)
    seen = []
    for _ in range(2):
        publish(config, made, 3_500, "live")
        seen.append((content(registry_db(config.paths)), content(online_db(config.paths))))
    assert seen[0] == seen[1]
    assert len(seen[0][1]["by_hand_user_sequence"]) == 2 * 7


def test_a_later_moment_shows_more_and_an_earlier_one_takes_it_back(config):
    made = tables(EVENTS, ITEMS)
    early = {"u1": (("a",), 2_000)}
    for moment, wanted in (
        (2_000, early),
        (4_000, {"u1": (("a", "b"), 4_000), "u2": (("c",), 4_000)}),
        (2_000, early),
    ):
        publish(config, made, moment, "rehearsal")
        assert histories(config, "rehearsal") == wanted


def test_lanes_share_the_stores_and_leave_each_other_alone(config):
    made = tables(EVENTS, ITEMS)
    publish(config, made, 5_000, "live")
    before = histories(config)
    publish(config, made, 2_000, "rehearsal")
    assert histories(config) == before
    assert histories(config, "rehearsal") == {"u1": (("a",), 2_000)}


def test_who_is_no_longer_in_the_data_is_gone_from_the_store(config):
    publish(config, tables(EVENTS, ITEMS), 5_000, "live")
    kept = [event for event in EVENTS if event[0] == "u1" and event[1] != "c"]
    report = publish(config, tables(kept, ["a", "b"]), 5_000, "live")
    assert report.removed == 2
    assert histories(config) == {"u1": (("a", "b"), 5_000)}
    with OnlineFeatures(config.paths, "by_hand") as store:
        assert store.user_attributes("u2") is None
        assert store.item_text("c") is None
        assert store.item_attributes("c") is None
        assert store.item_text("a") is not None


def test_a_late_event_is_in_the_next_publication_of_the_same_moment(config):
    publish(config, tables(EVENTS, ITEMS), 5_000, "live")
    late = [*EVENTS, ("u2", "a", "click", 500)]
    publish(config, tables(late, ITEMS), 5_000, "live")
    assert histories(config)["u2"] == (("a", "c"), 5_000)


def test_before_the_first_event_nobody_has_a_history(config):
    report = publish(config, tables(EVENTS, ITEMS), 1_000, "rehearsal")
    assert report.users == 0
    assert histories(config, "rehearsal") == {}


def test_offline_and_online_hold_the_same_rows(config):
    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    table = pq.read_table(
        offline_folder(config.paths.features, "by_hand") / "user_sequence.parquet"
    )
    offline = {row["user_id"]: (tuple(row["item_ids"]), row["as_of"]) for row in table.to_pylist()}
    assert offline == histories(config)
    stamps = {moment.timestamp() for moment in table["event_timestamp"].to_pylist()}
    assert stamps == {4.0}


def test_the_log_and_the_terminal_stay_clean(config, capfd, caplog):
    caplog.set_level(logging.INFO)
    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert not [record for record in caplog.records if record.name.startswith("feast")]


def test_events_that_name_unknown_items_leave_the_store_as_it_was(config):
    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    before = histories(config)
    with pytest.raises(FeatureError, match="1 events name items that the catalogue lacks"):
        publish(config, tables([*EVENTS, ("u1", "x", "click", 1)], ITEMS), 9_000, "live")
    assert histories(config) == before


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"x" * 4000])
@pytest.mark.parametrize("which", [registry_db, online_db])
def test_a_damaged_store_is_said_and_is_made_anew_once_it_is_out_of_the_way(config, which, content):
    made = tables(EVENTS, ITEMS)
    path = which(config.paths)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(FeatureError, match="can't be used") as told:
        publish(config, made, 4_000, "live")
    assert str(path) in told.value.message
    assert "move it away and publish again" in told.value.hint
    assert path.read_bytes() == content

    path.rename(path.with_suffix(".broken"))
    publish(config, made, 4_000, "live")
    assert set(histories(config)) == {"u1", "u2"}


@pytest.mark.parametrize("which", [registry_db, online_db])
def test_a_store_that_was_deleted_is_made_anew(config, which):
    made = tables(EVENTS, ITEMS)
    publish(config, made, 4_000, "live")
    before = histories(config)
    path = which(config.paths)
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    publish(config, made, 4_000, "live")
    assert histories(config) == before


def test_a_view_that_is_no_longer_defined_is_taken_out(config):
    from feast import FeatureView

    from feature_repo.entities import USER
    from feature_repo.sources import snapshot

    made = tables(EVENTS, ITEMS)
    publish(config, made, 4_000, "live")
    store = open_store(config.paths, "by_hand")
    source = snapshot("user_profile", offline_folder(config.paths.features, "by_hand"))
    store.apply([FeatureView(name="old_view", entities=[USER], source=source)])
    assert "by_hand_old_view" in content(online_db(config.paths))

    publish(config, made, 4_000, "live")
    assert "by_hand_old_view" not in content(online_db(config.paths))
    store = open_store(config.paths, "by_hand")
    assert "old_view" not in [view.name for view in store.list_feature_views()]


@contextmanager
def files_no_larger_than(size: int):
    """What a full disk does to a writer: Python turns the signal into an error of the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [1_000, 300_000])
def test_where_nothing_more_can_be_written_the_last_good_state_stays(config, room):
    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    before = histories(config)
    # Much enough that neither the snapshot nor the online store would fit.
    many = [(f"u{n}", ITEMS[n % 3], "click", n) for n in range(3_000) for _ in range(9)]
    with files_no_larger_than(room), pytest.raises((FeatureError, StorageError)) as told:
        publish(config, tables(many, ITEMS), 9_000, "live")
    assert str(config.paths.features) in told.value.message
    assert histories(config) == before

    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    assert histories(config) == before


def test_readers_never_wait_long_and_never_see_half_a_publication(config):
    made = tables(EVENTS, ITEMS)
    publish(config, made, 2_000, "live")
    states = {(("a",), 2_000), (("a", "b", "c"), 5_000)}
    stop, seen, slowest = threading.Event(), set(), []

    def read():
        with OnlineFeatures(config.paths, "by_hand") as store:
            while not stop.is_set():
                started = time.monotonic()
                history = store.user_history("u1")
                slowest.append(time.monotonic() - started)
                seen.add((history.item_ids, history.as_of_ms))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for moment in (5_000, 2_000, 5_000):
            publish(config, made, moment, "live")
    finally:
        stop.set()
        reader.join()
    assert seen == states
    assert len(slowest) > 100
    # SQLite would make a locked-out reader wait for seconds.
    assert max(slowest) < 5


def test_publications_at_the_same_time_wait_for_each_other(config):
    made = tables(EVENTS, ITEMS)
    publish(config, made, 2_000, "live")
    with ThreadPoolExecutor(4) as pool:
        lanes = ["live", "rehearsal"] * 3
        reports = list(pool.map(lambda lane: publish(config, made, 4_000, lane), lanes))
    assert [report.users for report in reports] == [2] * 6
    wanted = {"u1": (("a", "b"), 4_000), "u2": (("c",), 4_000)}
    assert histories(config, "live") == histories(config, "rehearsal") == wanted


KILLED = """
import os, pathlib, signal, sqlite3, sys
sys.path.insert(0, sys.argv[1])
from tables_by_hand import configuration, tables
from feature_repo.store import publish

written = 0
connect = sqlite3.connect

def watched(*arguments, **options):
    store = connect(*arguments, **options)
    store.set_trace_callback(die_half_way)
    return store

def die_half_way(statement):
    global written
    written += 'INSERT INTO "by_hand_user_sequence"' in statement
    if written == 5_000:
        os.kill(os.getpid(), signal.SIGKILL)

sqlite3.connect = watched
many = [(f"u{n:04}", "abc"[n % 3], "click", n) for n in range(2_000)]
publish(configuration(pathlib.Path(sys.argv[2])), tables(many, list("abc")), 9_000, "live")
"""


@pytest.mark.slow
def test_a_publication_that_is_killed_while_it_writes_leaves_the_last_good_state(config):
    publish(config, tables(EVENTS, ITEMS), 4_000, "live")
    before = histories(config)
    # 2,000 users with 5 features each are one transaction: it dies in the middle of it.
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(config.paths.root)],
        capture_output=True,
        text=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert histories(config) == before

    publish(config, tables(EVENTS, ITEMS), 5_000, "live")
    assert histories(config) == {"u1": (("a", "b", "c"), 5_000), "u2": (("c",), 5_000)}
    with OnlineFeatures(config.paths, "by_hand") as store:
        assert store.user_attributes("u1999") is None
