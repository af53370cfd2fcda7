"""Ray gives the rows of the single process: a Ray of two processes, started once for all tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from movielens_small import movielens_small
from tables_by_hand import ACTIONS, configuration, event_table, tables

from recommender.config.actions import ActionsConfig
from recommender.config.build import BuildConfig
from recommender.errors import FeatureError, StorageError
from recommender.features.build import catalogue_order
from recommender.features.sequences import Catalogue
from recommender.features.snapshots import snapshots, up_to_now
from recommender.features.streaming_build import Wanted, latest_sequences
from recommender.features.text import TextVectors

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
WANTED = Wanted(Catalogue(("a", "b")), ActionsConfig.model_validate(ACTIONS), 3, 90, CREATED)


def test_a_ray_that_is_not_there_is_told_with_what_to_do(monkeypatch):
    # Before the one of the other tests: where one is connected no address is asked for.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(FeatureError, match="can't be reached at 127") as told:
            list(latest_sequences(event_table([]), WANTED, BuildConfig(engine="ray")))
    assert "check RAY_ADDRESS" in told.value.hint


@pytest.fixture(scope="module")
def two_processes() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100_000_000,
        )
        yield
        ray.shutdown()


def same(events, wanted, each):
    """Whether both engines give the same rows in the same order; NaN is the same as NaN."""
    made = [
        pa.Table.from_batches(
            latest_sequences(events, wanted, BuildConfig(engine=engine, events_per_bucket=each))
        )
        for engine in ("ray", "local")
    ]
    assert made[0].schema == made[1].schema
    assert repr(made[0].to_pydict()) == repr(made[1].to_pydict())
    return made[0].num_rows


def test_ray_gives_the_rows_of_the_single_process(two_processes, tmp_path):
    events = event_table([(f"u{n % 9}", "ab"[n % 2], "click", n) for n in range(100)])
    assert same(events, WANTED, 20) == 9
    assert same(events, WANTED, 1_000) == 9
    files = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    pq.write_table(events.slice(0, 60), files[0], row_group_size=7)
    pq.write_table(events.slice(60), files[1])
    assert same(files, WANTED, 20) == 9
    pq.write_table(events.slice(0, 0), files[0])
    assert same(files[0], WANTED, 20) == 0
    assert same(events.slice(0, 0), WANTED, 20) == 0


def test_what_is_wrong_with_the_data_is_told_as_by_the_single_process(two_processes, tmp_path):
    build = BuildConfig(engine="ray", events_per_bucket=2)
    events = event_table([(user, item, "click", 1) for user, item in ("ua", "va", "wb", "x?")])
    with pytest.raises(FeatureError, match=r"lacks, e\.g\. '\?'") as told:
        list(latest_sequences(events, WANTED, build))
    assert "validate" in told.value.hint
    (tmp_path / "bad.parquet").write_bytes(b"not Parquet")
    with pytest.raises(StorageError, match=r"bad\.parquet"):
        list(latest_sequences(tmp_path / "bad.parquet", WANTED, build))


def test_snapshots_are_the_same_whichever_engine_the_configuration_names(two_processes, tmp_path):
    made = tables([(f"u{n % 9}", "ab"[n % 2], "click", n) for n in range(100)])
    text = TextVectors(np.ones((2, 2), np.float32), ("t",) * 2, ("h",) * 2, "e@1", 2, 0, 0, 0.0)
    views = []
    for engine in ("local", "ray"):
        build = {"engine": engine, "events_per_bucket": 30}
        config = configuration(tmp_path, features={"build": build})
        views.append(snapshots(made, config, text, 90, CREATED).tables["user_sequence"])
    assert views[0].schema == views[1].schema
    local, by_ray = (view.sort_by("user_id").to_pylist() for view in views)
    assert repr(local) == repr(by_ray)


@pytest.mark.needs_data
def test_ray_gives_the_rows_of_the_single_process_on_movielens(
    two_processes, shared_data, tmp_path
):
    config, tables = movielens_small(shared_data, tmp_path)
    items = catalogue_order(tables.items)
    wanted = Wanted.by(config, items, up_to_now(tables), CREATED)
    path = tmp_path / "events.parquet"
    pq.write_table(tables.events, path, row_group_size=20_000)
    assert same(path, wanted, 15_000) == 610
