"""Forgetting a person in a small workspace: all of theirs goes, nothing of anybody else's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import forget_world
import numpy as np
import pyarrow.parquet as pq
import pytest
from forget_world import RESULTS, RUN, World, brute_force, without_user

from feature_repo.locations import online_db
from feature_repo.stores.sqlite import SqliteStore
from feature_repo.wire import encode_key
from pipelines.forget.places import PLACES
from pipelines.forget.work import NotForgottenError, find, forget
from recommender.evaluation.frozen import EvaluationSet
from recommender.features.dataset import Dataset
from recommender.forgetting.suppression import Suppressions
from recommender.registry import Registry
from recommender.sources.versions import ingest
from recommender.tables import Tables
from serving.rollout.records import Journal

USER, OTHER = "u00003", "u00004"


def online_rows(world: World) -> dict[str, list[tuple]]:
    store = sqlite3.connect(online_db(world.config.paths))
    names = store.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
    rows = {
        name: sorted(map(repr, store.execute(f'SELECT * FROM "{name}"').fetchall()))
        for (name,) in names
    }
    store.close()
    return rows


def test_nothing_of_the_person_is_left_by_any_search(world):
    pseudonym = world.pseudonym(USER)
    assert len(brute_force(world.root, USER, pseudonym)) > 20, "they are everywhere before"
    told = forget(world.config, USER)
    assert brute_force(world.root, USER, pseudonym) == []
    assert told.proved
    assert told.scan.clean
    removed = {place for place, count in told.removed.items() if count}
    expected = {place.name for place in PLACES} - {
        "leftovers",
        "registry",
        "other copies",
        "elsewhere",
    }
    assert removed == expected
    certificate = (world.root / "privacy" / "certificates" / f"{told.ticket}.json").read_text()
    assert USER not in certificate
    assert pseudonym not in certificate


def test_everybody_else_is_as_before_value_for_value(world):
    old_online = online_rows(world)
    offline = sorted((world.root / "features" / "offline").rglob("*.parquet"))
    old_offline = {path: pq.read_table(path).to_pylist() for path in offline}
    old_dataset = Dataset.read(world.root / RESULTS / "materialize" / "dataset")
    forget(world.config, USER)
    key = repr(encode_key("user_id", USER))
    for name, rows in online_rows(world).items():
        assert rows == [row for row in old_online[name] if key not in row], name
    for path, rows in old_offline.items():
        if rows and "user_id" in rows[0] and "user_event" not in path.parts:
            # NaN is equal to itself in writing only.
            assert repr(pq.read_table(path).to_pylist()) == repr(without_user(rows, USER))
        elif "user_event" not in path.parts:
            assert repr(pq.read_table(path).to_pylist()) == repr(rows)
    landed = [
        row
        for path in sorted((world.root / "features" / "offline").rglob("user_event/*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    before = [
        row for path, rows in old_offline.items() if "user_event" in path.parts for row in rows
    ]
    by_id = [sorted(rows, key=lambda row: row["event_id"]) for rows in (landed, before)]
    assert by_id[0] == without_user(by_id[1], USER)
    dataset = Dataset.read(world.root / RESULTS / "materialize" / "dataset")
    assert set(old_dataset.log.users) - set(dataset.log.users) == {world.pseudonym(USER)}
    for user in dataset.log.users:
        theirs = [
            (log.items[own], log.actions[own], log.times[own])
            for log in (old_dataset.log, dataset.log)
            for own in [log.user_of_event == log.users.index(user)]
        ]
        for old, new in zip(*theirs, strict=True):
            np.testing.assert_array_equal(old, new)


def test_evaluation_sets_load_again_and_ask_the_same_of_the_others(world):
    folder = world.root / RESULTS / "evaluate" / "evaluation" / "requests"
    old = EvaluationSet.load(folder)
    user = next(
        each
        for each in Tables.read(world.version.folder).users["user_id"].to_pylist()
        if world.pseudonym(each) in old.log.users
    )
    forget(world.config, user)
    new = EvaluationSet.load(folder)
    gone = old.users == old.log.users.index(world.pseudonym(user))
    assert gone.any()
    kept = np.flatnonzero(~gone)
    np.testing.assert_array_equal(new.times, old.times[kept])
    np.testing.assert_array_equal(new.relevance(np.arange(len(new))), old.relevance(kept))
    told = [
        world_set.histories(rows) for world_set, rows in ((old, kept), (new, np.arange(len(new))))
    ]
    np.testing.assert_array_equal(told[0].items, told[1].items)
    np.testing.assert_array_equal(told[0].offsets, told[1].offsets)
    assert new.data_version != old.data_version


def test_the_new_data_version_is_what_the_next_ingest_makes(world):
    forget(world.config, USER)
    (folder,) = (world.root / "data" / "versions").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data_version"] == folder.name != world.version.name
    assert manifest["forgotten"] == 1
    again = ingest(world.config)
    assert (again.name, again.unchanged) == (folder.name, True)
    assert sum(dropped.count for dropped in again.report.dropped if dropped.table == "events") > 0
    left = Tables.read(folder)
    assert left.events.to_pylist() == without_user(world.tables.events.to_pylist(), USER)
    assert left.users.to_pylist() == without_user(world.tables.users.to_pylist(), USER)
    for accepted in ("data/accepted.json", "features/accepted_profile.json"):
        current = json.loads((world.root / accepted).read_text())["current"]
        assert current["data_version"] == folder.name
    assert current["version"] == f"{folder.name}/0123abcd"
    copies = [world.root / RESULTS / step for step in ("ingest/data", "validate/clean")]
    for copy in copies:
        assert json.loads((copy / "manifest.json").read_text())["data_version"] == folder.name


def test_models_that_saw_them_are_marked_and_still_verify(world):
    told = forget(world.config, USER)
    registry = Registry.of(world.config.paths)
    (mark,) = registry.retrain_marks(world.model)
    assert told.models == (world.model,)
    assert (mark.ticket, mark.data_version, mark.certain) == (
        told.ticket,
        world.version.name,
        True,
    )
    assert registry.fetch(world.model).is_dir()
    second = forget(world.config, OTHER)
    assert second.models == (world.model,), "known through the version that took the place"
    assert [each.certain for each in registry.retrain_marks(world.model)] == [True, True]


def test_reports_lose_the_examples_and_nothing_else(world):
    users = world.tables.users["user_id"].to_pylist()
    forget(world.config, USER)
    run = world.root / "runs" / RUN
    examples = json.loads((run / "steps" / "deploy.json").read_text())["summary"]["examples"]
    assert [each["user_id"] for each in examples] == [u for u in users[:5] if u != USER]
    findings = json.loads((run / "quality.json").read_text())["expectations"][0]["examples"]
    assert len(findings) == len(users) - 1
    assert (run / "validation.html").read_text().count("value -1") == len(users) - 1
    log = (run / "pipeline.log").read_text().splitlines()
    assert len(log) == len(users)
    assert sum(line.startswith("#") for line in log) == 1
    records = Journal(world.root / "serving" / "rollouts" / "r-1" / "records.jsonl").read()
    assert len(records) == len(users) - 1
    rejected = (world.root / "features" / "rejected" / "by_hand.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in rejected)


@pytest.mark.parametrize("user", ["42", "4", "u1"])
def test_ids_that_look_like_others_lose_nothing_else(tmp_path, user):
    """User 42 is also item 42, a count and a second; u1 is also the beginning of u10."""
    log = tmp_path / "log.csv"
    users = ["42", "421", "142", "4", "u1", "u10", "u100", "xu1"]
    lines = ["who,what,when"]
    for number in range(400):
        who = users[number % len(users)]
        lines.append(f"{who},{number % 13 + 38},2024-{number // 40 + 1:02d}-{number % 28 + 1:02d}")
    log.write_text("\n".join(lines))
    world = forget_world.build(
        tmp_path / "w",
        source={
            "kind": "mapped",
            "events": {
                "location": str(log),
                "columns": {"user": "who", "item": "what", "time": "when"},
                "types": {"rules": [{"event": "click"}]},
            },
            "items": {"columns": {"item": "what"}},
        },
    )
    before, pseudonym = world.tables, world.pseudonym(user)
    told = forget(world.config, user)
    assert told.proved
    (folder,) = (world.root / "data" / "versions").iterdir()
    left = Tables.read(folder)
    assert left.items.equals(before.items)
    assert left.events.to_pylist() == without_user(before.events.to_pylist(), user)
    store = SqliteStore(online_db(world.config.paths), "by_hand")
    known = set(users) - {user}
    assert set(store.ids("user_sequence")) == known
    assert "42" in set(store.ids("item_text"))
    store.close()
    log_lines = (world.root / "runs" / RUN / "pipeline.log").read_text().splitlines()
    assert {line.split()[-1] for line in log_lines if line.startswith("asked")} == known
    assert brute_force(world.root, pseudonym) == []
    for other in known:
        assert find(world.config, other).scan.traces, other
    told = json.loads((world.root / "runs" / RUN / "steps" / "deploy.json").read_text())
    assert all(each["history"] == 42 for each in told["summary"]["examples"])
    assert ingest(world.config).name == folder.name


def test_a_second_time_changes_nothing(world):
    first = forget(world.config, USER)
    files = {path: path.stat().st_mtime_ns for path in world.root.rglob("*.parquet")}
    second = forget(world.config, USER)
    assert second.ticket == first.ticket
    assert second.removed == first.removed
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*.parquet")} == files
    assert len(Registry.of(world.config.paths).retrain_marks(world.model)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from recommender.config import Config
from pipelines.forget.work import forget

def after(place):
    if place == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

forget(Config.from_json(Path(sys.argv[1]).read_text()), "u00003", after_each=after)
"""


@pytest.mark.parametrize(
    "place",
    [
        "data versions",
        # Each costs a process that imports everything.
        pytest.param("models", marks=pytest.mark.slow),
        pytest.param("online store", marks=pytest.mark.slow),
        pytest.param("pipeline artifacts", marks=pytest.mark.slow),
    ],
)
def test_killed_on_the_way_a_second_run_completes(world, tmp_path, place):
    asked = tmp_path / "config.json"
    asked.write_text(world.config.to_json())
    child = subprocess.run([sys.executable, "-c", KILLED, str(asked), place], check=False)
    assert child.returncode == -signal.SIGKILL
    assert Suppressions(world.config.paths).is_suppressed(USER), "first of all they are kept out"
    assert brute_force(world.root, USER)
    # What a writer that was killed with it would leave.
    left = world.root / RESULTS / "materialize" / ".dataset.abcd_123"
    shutil.copytree(world.root / RESULTS / "ingest" / "data", left)
    told = forget(world.config, USER)
    assert told.proved
    assert brute_force(world.root, USER, world.pseudonym(USER)) == []
    assert told.models == (world.model,)
    assert not left.exists()
    assert ingest(world.config).unchanged


def test_broken_off_after_the_last_trace_it_still_does_the_rest(world):
    def stop(place: str) -> None:
        if place == "run records":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget(world.config, USER, after_each=stop)
    cached = world.root / "cache" / "behaviour" / "e-1" / "late.parquet"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert find(world.config, USER).scan.clean
    assert forget(world.config, USER).proved
    assert not cached.exists()


def test_a_reader_that_is_open_sees_the_person_go(world):
    store = SqliteStore(online_db(world.config.paths), "by_hand")
    assert store.rows("user_sequence", "user_id", [USER])[0] is not None
    forget(world.config, USER)
    mine, other = store.rows("user_sequence", "user_id", [USER, OTHER])
    assert mine is None
    assert other is not None
    store.close()


def test_a_log_that_is_open_can_be_written_on(world):
    log = world.root / "serving" / "processes" / "m-1.log"
    with log.open("r+b") as server:
        server.seek(0, os.SEEK_END)
        forget(world.config, USER)
        server.write(b"and on it goes\n")
    assert b"\0" not in log.read_bytes()
    assert log.read_text().endswith("is odd\nand on it goes\n")


def test_what_no_place_knows_of_is_found_and_named(world):
    hidden = world.root / "checkpoints.bin"
    hidden.write_bytes(b"\0\1" + world.pseudonym(USER).encode())
    with pytest.raises(NotForgottenError, match=r"checkpoints\.bin"):
        forget(world.config, USER)
    hidden.unlink()
    assert forget(world.config, USER).proved
