"""Forgetting a person in a small workspace: all of theirs goes, nothing of anybody else's."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import forget_world
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from forget_world import RESULTS, RUN, World, without_user
from typer.testing import CliRunner

from feature_repo.locations import online_db
from feature_repo.store import taking_turns
from feature_repo.stores.sqlite import SqliteStore
from feature_repo.wire import encode_key
from pipelines.cli import app
from pipelines.forget.places import PLACES
from pipelines.forget.work import NotForgottenError, UnknownUserError, find, forget, nobody_else
from recommender.errors import ConfigError, RolloutError, UserError
from recommender.evaluation.frozen import EvaluationSet
from recommender.features.dataset import Dataset
from recommender.forgetting.suppression import Suppressions
from recommender.registry import Registry
from recommender.sources.versions import ingest
from recommender.tables import Tables
from serving.rollout.records import Journal
from serving.rollout.release import rollouts_of

USER, OTHER = "u00003", "u00004"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    return forget_world.build(tmp_path_factory.mktemp("built") / "w")


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A copy, because forgetting can't be undone."""
    shutil.copytree(built.root, tmp_path / "w")
    config = built.config.model_copy(update={"workspace": str(tmp_path / "w")})
    return World(config, built.version, built.tables, built.model)


def brute_force(root: Path, *needles: str) -> list[str]:
    """Look by other means than the command does: pandas, sqlite's own dump, plain bytes."""
    found = []
    for path in root.rglob("*"):
        if not path.is_file() or path.name == "suppressed.json":
            continue
        data = path.read_bytes()
        if data.startswith(b"PAR1"):
            data += pd.read_parquet(path).map(repr).to_csv().encode()
        if data.startswith(b"SQLite"):
            rows = (row for table in tables_of(path) for row in table)
            data += repr(list(rows)).encode()
        found += [f"{path}: {needle}" for needle in needles if needle.encode() in data]
    return found


def tables_of(path: Path):
    store = sqlite3.connect(path)
    for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
        yield store.execute(f'SELECT * FROM "{name}"').fetchall()
    store.close()


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


@pytest.fixture
def ostinato(world, tmp_path):
    """The command line on this workspace."""
    file = tmp_path / "config.yaml"
    file.write_text(world.config.to_json())  # JSON is YAML

    def call(*words: str):
        return CliRunner().invoke(app, [*words, "--config", str(file)])

    return call


def test_the_command_asks_before_and_tells_afterwards(world, ostinato):
    assert "retrain" not in ostinato("status").output
    refused = ostinato("forget", USER)
    assert isinstance(refused.exception, UserError)
    assert "--yes" in refused.exception.hint
    assert isinstance(ostinato("forget", USER, "--json").exception, UserError)
    assert isinstance(ostinato("forget", USER, "--verify").exception, NotForgottenError)
    assert not Suppressions(world.config.paths).is_suppressed(USER)
    told = ostinato("forget", USER, "--yes")
    assert told.exit_code == 0, told.output
    for words in ("online store", "data versions", "proved", "marked", world.model, "not seen"):
        assert words in told.output
    assert world.pseudonym(USER) not in told.output
    again = ostinato("forget", USER, "--yes", "--json")
    certificate = json.loads(again.output)
    assert certificate["proved"]
    assert certificate["removed"]["online store"]["records"] > 0, "of the first time"
    assert certificate["scan"]["traces"] == 0
    assert "nothing of" in ostinato("forget", USER, "--verify").output
    assert isinstance(ostinato("forget", "nobody", "--yes").exception, UnknownUserError)


def test_status_says_that_the_champion_saw_somebody(world, ostinato):
    Registry.of(world.config.paths).promote(world.model)
    ostinato("forget", USER, "--yes")
    assert "saw a user who has asked to be forgotten" in ostinato("status").output
    ostinato("forget", OTHER, "--yes")
    assert "saw 2 users who have asked" in ostinato("status").output


def test_a_workspace_that_is_not_there_is_said_so(world, ostinato):
    told = ostinato("forget", USER, "--yes", "--workspace", str(world.root / "nowhere"))
    assert "does not exist" in str(told.exception)
    assert not (world.root / "nowhere").exists()


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


def test_an_unknown_user_is_said_to_be_unknown_and_nothing_happens(world):
    with pytest.raises(UnknownUserError, match="nothing about the user 'nobody'"):
        forget(world.config, "nobody")
    assert not Suppressions(world.config.paths).is_suppressed("nobody")
    told = forget(world.config, "nobody", unknown_too=True)
    assert told.proved
    assert not any(told.removed.values())
    assert told.models == ()
    assert Suppressions(world.config.paths).is_suppressed("nobody")


def test_it_waits_for_nobody_who_is_at_work_but_says_so(world):
    with (world.root / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another run is at work"):
            forget(world.config, USER)
    with rollouts_of(world.config).locked(), pytest.raises(RolloutError, match="drives a rollout"):
        forget(world.config, USER)
    with nobody_else(world.config), pytest.raises(ConfigError, match="another run"):
        forget(world.config, USER)
    assert not Suppressions(world.config.paths).is_suppressed(USER)


def test_it_waits_for_a_publication(world):
    waited = []

    def publish() -> None:
        with taking_turns(world.config.paths):
            publishing.set()
            time.sleep(0.5)
            waited.append("published")

    publishing = threading.Event()
    publisher = threading.Thread(target=publish)
    publisher.start()
    publishing.wait()
    forget(world.config, USER, after_each=waited.append)
    publisher.join()
    assert waited[0] == "published"


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


def test_looking_only_changes_nothing_and_finds_them(world):
    before = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    found = find(world.config, USER)
    assert len(found.scan.traces) > 20
    assert found.since is None
    same = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    assert same.keys() == before.keys()
    forget(world.config, USER)
    assert find(world.config, USER).scan.clean
    assert find(world.config, USER).since


def test_what_no_place_knows_of_is_found_and_named(world):
    hidden = world.root / "checkpoints.bin"
    hidden.write_bytes(b"\0\1" + world.pseudonym(USER).encode())
    with pytest.raises(NotForgottenError, match=r"checkpoints\.bin"):
        forget(world.config, USER)
    hidden.unlink()
    assert forget(world.config, USER).proved
