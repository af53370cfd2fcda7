"""A small workspace with a trace of everybody in every place that is on the list.

Everything is written by the code that writes it in a run, but for the text vectors (chance, no
encoder) and the reports, which are told by hand.
"""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file
from tables_by_hand import configuration

from feature_repo.locations import online_db, project_name
from feature_repo.stores.sqlite import SqliteStore
from feature_repo.stream.dead_letters import DeadLetterFile
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from feature_repo.stream.opening import dead_letter_path
from recommender.config import Config
from recommender.evaluation.freeze import freeze
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.snapshots import KEYS, snapshots, up_to_now
from recommender.features.text import TextVectors
from recommender.features.vector_cache import content_hash
from recommender.files import write_json
from recommender.privacy import Pseudonyms, pseudonyms
from recommender.registry import Registry
from recommender.served_store import ServedStore
from recommender.sources.versions import DataVersion, hand_over, ingest
from recommender.tables import Tables
from serving.feedback.ledger import Ledger, ledger_path
from serving.feedback.report import Feedback
from serving.feedback.request_id import SignedIds
from serving.rollout.baseline import register_baseline
from serving.rollout.records import Arm, Journal, Record
from serving.served_log.served_list import ServedList
from serving.served_log.sinks import ParquetSink

SYNTHETIC = {"kind": "synthetic", "users": 30, "items": 25, "days": 30, "sessions_per_user": 6}
ACTIONS = {
    "types": ["impression", "click", "purchase"],
    "history": ["click", "purchase"],
    "success": ["click"],
    "exclude_seen": False,
}
RUN = "20260101-000000-abcd"
RESULTS = f"kfp/{RUN}/ostinato-training"


@dataclass(frozen=True)
class World:
    """A workspace and what is in it.

    Attributes:
        config: of the data set.
        version: that was ingested.
        tables: of that version, before anybody was forgotten.
        model: the registered version.
    """

    config: Config
    version: DataVersion
    tables: Tables
    model: str

    @property
    def root(self) -> Path:
        return self.config.paths.root

    def pseudonym(self, user: str) -> str:
        return pseudonyms(self.config.paths.keys).of(user)


def build(root: Path, source: dict[str, Any] | None = None, **sections: Any) -> World:
    sections = {"actions": ACTIONS, **sections}
    config = configuration(root, source=source or SYNTHETIC, **sections)
    version = ingest(config)
    tables = Tables.read(version.folder)
    text = vectors(tables)
    names = pseudonyms(config.paths.keys)
    results = root / RESULTS
    hand_over(version, results / "ingest" / "data")
    clean = results / "validate" / "clean"
    tables.write(clean)
    write_json(clean / "manifest.json", json.loads((version.folder / "manifest.json").read_text()))
    dataset = build_dataset(tables, config, text, names, version.name)
    dataset.write(results / "materialize" / "dataset")
    requests = freeze(dataset, config.actions, config.features.history_limit, 3)
    _evaluation(results / "evaluate" / "evaluation", requests)
    _features(config, tables, text)
    _streamed(config, tables)
    profile = {"current": {"data_version": version.name, "version": f"{version.name}/0123abcd"}}
    write_json(config.paths.features / "accepted_profile.json", profile)
    write_json(config.paths.data / "accepted.json", {**profile, "previous": None})
    users = tables.users["user_id"].to_pylist()
    _served(config, users, names)
    _shown(config, users, names)
    _run(root / "runs" / RUN, users, names)
    _caches(config, users)
    fold = dataset.folds[-1]
    model = register_baseline(Registry.of(config.paths), tables, config, fold, version.name, RUN)
    (root / "checkpoints" / "a1").mkdir(parents=True)
    save_file({"w": np.ones(3, np.float32)}, root / "checkpoints" / "a1" / "t.safetensors")
    return World(config, version, tables, model)


def vectors(tables: Tables) -> TextVectors:
    items = catalogue_order(tables.items)
    made = np.random.default_rng(0).normal(size=(items.num_rows, 4)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    texts = tuple(f"thing {row}" for row in range(len(made)))
    return TextVectors(
        made, texts, tuple(map(content_hash, texts)), "chance@0", 0, len(made), 0, 0.0
    )


def _evaluation(folder: Path, requests) -> None:
    requests.save(folder / "requests")
    people = pa.array(requests.log.users)
    pq.write_table(
        pa.table({"user": people, "requests": pa.array(np.ones(len(people), np.int64))}),
        folder / "users.parquet",
    )
    examples = dict.fromkeys(requests.log.users[:3], "took nothing in the test window")
    write_json(folder / "evaluation.json", {"evaluation_set": {"unscored_examples": examples}})


def _features(config: Config, tables: Tables, text: TextVectors) -> None:
    built = snapshots(tables, config, text, up_to_now(tables), datetime.now(UTC))
    for lane in ("live", "rehearsal"):
        project = project_name(config, lane)
        folder = config.paths.features / "offline" / project
        folder.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(online_db(config.paths), project)
        for view, table in built.tables.items():
            pq.write_table(table, folder / f"{view}.parquet", compression="zstd")
            # Twice, so that old pages hold what was overwritten.
            for _ in range(2):
                created = pa.array([datetime.now(UTC)] * table.num_rows, pa.timestamp("us", "UTC"))
                place = table.schema.get_field_index("created")
                newer = table.set_column(place, "created", created)
                store.write(view, KEYS[view], newer.to_batches())
        store.close()


def _streamed(config: Config, tables: Tables) -> None:
    location = config.paths.features / "offline" / project_name(config, "live")
    landing = Landing(str(location))
    rows = tables.events.slice(0, 200).to_pylist()
    for start in range(0, len(rows), 100):
        landing.land(
            [
                StreamEvent(
                    f"s{row['event_id']}",
                    row["user_id"],
                    row["item_id"],
                    row["event"],
                    int(row["time"].timestamp() * 1000),
                )
                for row in rows[start : start + 100]
            ],
            1_800_000_000_000 + start,
        )
    letters = DeadLetterFile(dead_letter_path(config))
    for row in rows[:60]:
        letters.put(
            json.dumps({"user_id": row["user_id"], "event": "?"}).encode(), "no event", {"part": 0}
        )
    letters.put(b"\xff" + f'{{"user_id": "{rows[0]["user_id"]}"}}'.encode(), "no text", {})
    letters.flush()


def _served(config: Config, users: list[str], names) -> None:
    journal = Journal(config.paths.serving / "rollouts" / "r-1" / "records.jsonl")
    journal.append(
        Record(names.of(user), 0, Arm.STABLE, "m-1", 200, 5.0 + row, True)
        for row, user in enumerate(users)
    )
    journal.copy(config.paths.root / RESULTS / "deploy" / "rollout" / "records.jsonl")
    logs = config.paths.serving / "processes"
    logs.mkdir(parents=True)
    (logs / "m-1.log").write_text(
        "".join(f"12:00:00 WARNING history of user {user!r} is odd\n" for user in users)
    )


def _shown(config: Config, users: list[str], names: Pseudonyms) -> None:
    """Lists and clicks of everybody: written, and waiting to be."""
    store = ServedStore(config.paths.root)
    ids = SignedIds(names, 3600.0)
    now = time.time_ns() // 1_000_000
    lists = [
        ServedList(
            request_id=ids.make(user, "m-1", "live", ["i1"], now),
            time=now,
            user=names.of(user),
            version="m-1",
            lane="live",
            surface=None,
            items=["i1"],
            scores=[1.0],
            propensities=[1.0],
            marginals=[1.0],
            policy="greedy",
            fallback=None,
            latency_ms=1.0,
        )
        for user in users
    ]
    ParquetSink(store).served(lists)
    ledger = Ledger(ledger_path(config.serving.feedback, config.paths))
    for action in ("click", "purchase"):
        ledger.take(
            [
                Feedback(f"{action}-{row}", one.request_id, "i1", action, now, None, now)
                for row, one in enumerate(lists)
            ]
        )
        if action == "click":
            ledger.drain(ParquetSink(store).feedback, 1000)
    ledger.close()


def _run(folder: Path, users: list[str], names) -> None:
    examples = [
        {"user_id": user, "items": [{"item_id": "i1", "title": user, "score": 1.5}], "history": 42}
        for user in users[:5]
    ]
    write_json(folder / "steps" / "deploy.json", {"summary": {"examples": examples, "n": 5}})
    found = [
        {"row": str(row), "user_id": names.of(user), "value": "-1"}
        for row, user in enumerate(users)
    ]
    write_json(folder / "quality.json", {"expectations": [{"name": "v", "examples": found}]})
    lines = "".join(
        f"<div><code>row {row['row']}, user_id {row['user_id']}, value -1</code></div>\n"
        for row in found
    )
    (folder / "validation.html").write_text(f"<!doctype html><html>{lines}</html>")
    (folder / "pipeline.log").write_text("".join(f"asked for user {user}\n" for user in users))


def _caches(config: Config, users: list[str]) -> None:
    raw = config.paths.cache / "s3" / "0123456789abcdef" / "log.csv"
    raw.parent.mkdir(parents=True)
    raw.write_text("user,item\n" + "".join(f"{user},i1\n" for user in users))
    behaviour = config.paths.cache / "behaviour" / "e-1" / "shard.parquet"
    behaviour.parent.mkdir(parents=True)
    pq.write_table(pa.table({"hash": ["x"], "vector": [[1.0]]}), behaviour)


def without_user(rows: list[dict[str, Any]], user: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["user_id"] != user]


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
