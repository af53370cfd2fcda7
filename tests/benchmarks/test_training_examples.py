"""A million training examples at random moments, against Feast's own point-in-time join.

    make bench PYTEST_ARGS="-k training_examples"

Ours: the whole load (100 k users × 50 events), from the sorted log to tensors. Feast's: one
snapshot per event, so that the join can answer for any moment, joined by `get_historical_features`
on DuckDB; on a fiftieth of the users and of the examples, because the whole is 5 M snapshots of up
to 50 events in four lists. Making the snapshots and a first call, which imports things, are not
timed. The answers are compared, all of them. CPU time of this process, all threads; one of torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import load
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.config.actions import ActionsConfig
from recommender.features.sequences import Catalogue, EventLog, Histories

EXAMPLES, LIMIT, SAMPLE, BATCH = 1_000_000, 50, 50, 10_000
ACTIONS = ActionsConfig(types=("view", "purchase"))


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    made = work()
    return time.process_time() - start, made


def asked(log: EventLog, count: int) -> tuple[Any, Any]:
    """Random users at random moments of the log's time."""
    rng = np.random.default_rng(11)
    users = rng.integers(0, len(log.users), count)
    return users, rng.integers(log.times.min(), log.times.max() + 2, count)


@pytest.mark.benchmark
def test_training_examples(tmp_path: Path) -> None:
    import torch

    from recommender.model.padded import Padded

    torch.set_num_threads(1)
    made = load.tables()
    catalogue = Catalogue(tuple(made.items["item_id"].to_pylist()))
    building, log = cpu(lambda: EventLog.build(made.events, catalogue, ACTIONS))
    users, moments = asked(log, EXAMPLES)

    def packed() -> int:
        histories = log.histories(users, moments, LIMIT)
        names = ("items", "actions", "times", "values", "offsets", "now")
        tensors = {name: torch.from_numpy(getattr(histories, name)) for name in names}
        return len(tensors["items"])

    def padded() -> int:
        start, stop = log.windows(users, moments, LIMIT)
        cells = 0
        for first in range(0, EXAMPLES, BATCH):
            part = slice(first, first + BATCH)
            batch = Padded.cut(log, start[part], (stop - start)[part])
            cells += batch.items.numel()
        return cells

    packing, events = cpu(packed)
    padding, cells = cpu(padded)

    small = load.tables(users=load.USERS_COUNT // SAMPLE)
    log = EventLog.build(small.events, catalogue, ACTIONS)
    users, moments = asked(log, EXAMPLES // SAMPLE)
    ours, histories = cpu(lambda: log.histories(users, moments, LIMIT))
    theirs, joined = feast_join(log, catalogue, users, moments, tmp_path)
    assert_equal(joined, histories, log, catalogue)

    print(f"""

### {EXAMPLES:,} training examples (random user and moment), CPU seconds

| what | CPU s |
|---|---:|
| sort {len(made.events):,} events into a log (once) | {building:.2f} |
| examples as packed tensors ({events:,} events; items, actions, times, values) | {packing:.2f} |
| examples as padded tensors ({cells:,} cells, {BATCH:,} examples at a time) | {padding:.2f} |
| a {SAMPLE}th of the users and examples, ours (packed) | {ours:.3f} |
| a {SAMPLE}th of the users and examples, Feast's join on DuckDB | {theirs:.2f} |
| Feast's join / ours, same sample | {theirs / ours:,.0f} × |
| Feast's join, × {SAMPLE} (not measured) | {theirs * SAMPLE:,.0f} |
""")


def feast_join(
    log: EventLog, catalogue: Catalogue, users: Any, moments: Any, folder: Path
) -> tuple[float, pd.DataFrame]:
    """Join with Feast; return the CPU seconds, and the rows in the order of the question."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Array, Float32, Int64, String

    # A snapshot stands for the moments after its last event, as ours is strictly before t.
    every = log.histories(log.user_of_event, log.times + 1, LIMIT)
    last = np.append((np.diff(log.user_of_event) != 0) | (np.diff(log.times) != 0), True)
    offsets = pa.array(every.offsets, pa.int32())
    columns = {
        "item_ids": catalogue.array.take(pa.array(every.items)),
        "actions": pa.array(ACTIONS.types).take(pa.array(every.actions - 1)),
        "times": pa.array(every.times),
        "values": pa.array(every.values),
    }
    lists = {name: pa.ListArray.from_arrays(offsets, flat) for name, flat in columns.items()}
    names = pa.array(log.users)
    snapshots = pa.table(
        {
            "user_id": names.take(pa.array(log.user_of_event)),
            **lists,
            "event_timestamp": pa.array(log.times + 1).cast(pa.timestamp("ms", tz="UTC")),
        }
    )
    pq.write_table(snapshots.filter(pa.array(last)), folder / "snapshots.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="join",
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    kinds = {"item_ids": String, "actions": String, "times": Int64, "values": Float32}
    view = FeatureView(
        name="sequence",
        entities=[user],
        ttl=timedelta(days=36_525),
        schema=[Field(name=name, dtype=Array(kind)) for name, kind in kinds.items()],
        source=FileSource(
            name="snapshots",
            path=str(folder / "snapshots.parquet"),
            timestamp_field="event_timestamp",
        ),
    )
    store.apply([user, view])
    question = pd.DataFrame(
        {
            "row": np.arange(len(users)),
            "user_id": names.take(pa.array(users)).to_pandas(),
            "event_timestamp": pd.to_datetime(moments, unit="ms", utc=True),
        }
    )
    wanted = [f"sequence:{name}" for name in kinds]
    store.get_historical_features(question.head(1), wanted).to_arrow()
    took, table = cpu(lambda: store.get_historical_features(question, wanted).to_arrow())
    return took, table.sort_by("row")


def assert_equal(joined: Any, ours: Histories, log: EventLog, catalogue: Catalogue) -> None:
    """Both ways give the same examples."""
    assert joined.num_rows == len(ours)
    flat = [item for row in joined["item_ids"].to_pylist() for item in row or ()]
    assert flat == catalogue.array.take(pa.array(ours.items)).to_pylist()
    times = [time for row in joined["times"].to_pylist() for time in row or ()]
    assert times == ours.times.tolist()
    assert [len(row or ()) for row in joined["times"].to_pylist()] == ours.lengths.tolist()
