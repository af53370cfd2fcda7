"""What the benchmarks of serving share: 20,000 items, about 2 M parameters, histories of 200."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis_server as redis_program
from tables_by_hand import configuration

ITEMS, WIDTH, HISTORY = 20_000, 96, 200
USERS = int(os.environ.get("OSTINATO_BENCH_USERS", 1_500))
START = 1_700_000_000_000
NOW = START + 400 * 86_400_000
PATH = "/v1/models/ostinato:predict"
PROJECT = "by_hand"


def made_model(config):
    import torch

    from recommender.artifact import Model
    from recommender.config.model import ModelConfig
    from recommender.features.sequences import Catalogue
    from recommender.model.scorer import TransformerScorer
    from recommender.model.transformer import UnifiedTransformer

    torch.manual_seed(0)
    module = UnifiedTransformer(
        ModelConfig(width=WIDTH, heads=2, layers=2, history=HISTORY),
        len(config.actions.types),
        torch.randn(ITEMS, 128),
        torch.ones(ITEMS, dtype=torch.bool),
        torch.randn(ITEMS, 4),
        repeats=True,
    )
    ids = tuple(f"i{row:05d}" for row in range(ITEMS))
    scorer = TransformerScorer(module, Catalogue(ids))
    count = sum(each.numel() for each in module.parameters())
    return Model(scorer, tuple(f"Thing {i}" for i in ids), config.actions, HISTORY), count


def rows(users: int = USERS) -> pa.Table:
    rng = np.random.default_rng(5)
    names = np.array([f"i{row:05d}" for row in range(ITEMS)])
    times = START + np.sort(rng.integers(0, 399 * 86_400_000, (users, HISTORY)), axis=1)
    stamp = pa.array([NOW] * users).cast(pa.timestamp("ms", tz="UTC"))
    return pa.table(
        {
            "user_id": [f"u{row}" for row in range(users)],
            "item_ids": names[rng.integers(0, ITEMS, (users, HISTORY))].tolist(),
            "actions": np.array(["view", "purchase"])[
                (rng.random((users, HISTORY)) < 0.1).astype(int)
            ].tolist(),
            "times": times.tolist(),
            "values": np.full((users, HISTORY), np.nan).astype(np.float32).tolist(),
            "event_ids": [[f"e{place}" for place in range(HISTORY)]] * users,
            "as_of": [NOW] * users,
            "event_timestamp": stamp,
            "created": stamp,
        }
    )


@dataclass(frozen=True)
class World:
    """A signed model in a registry, and histories in an online store.

    Attributes:
        folder: of the fetched version.
        redis: the server program where histories lie in Redis.
    """

    config: Any
    version: str
    folder: Path
    parameters: int
    table: pa.Table
    redis: Any | None

    def start(self, name: str, module: str, compute: Any) -> str:
        """Start a model server and return its URL."""
        from serving import processes
        from serving.processes import Command

        arguments = [
            *("--model", str(self.folder), "--version", self.version),
            *("--workspace", str(self.config.paths.root), "--project", PROJECT),
            *("--compute", compute.model_dump_json(), "--refresh-s", "3600"),
        ]
        command = Command(name, "model", module, arguments, "/v2/models/ostinato/ready")
        return processes.start(self.config.paths, command, host="127.0.0.1", timeout_s=180).url


@contextlib.contextmanager
def world(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    redis: bool = True,
    onnx: bool = False,
    users: int = USERS,
) -> Iterator[World]:
    """Make it all; servers end with it.

    Args:
        folder: for everything.
        monkeypatch: of the test.
        redis: whether histories lie in Redis; else in SQLite.
        onnx: whether the model brings ONNX files.
        users: how many there are.
    """
    from feature_repo.sdk import apply, open_store
    from feature_repo.stores import open_online
    from recommender.export import onnx_files
    from recommender.registry import Decision, Lineage, Registry, Status
    from recommender.split import Fold
    from serving import processes

    config = configuration(
        folder / "workspace",
        actions={"types": ["view", "purchase"], "history": ["view", "purchase"]},
    )
    paths = config.paths
    model, parameters = made_model(config)
    made = folder / "made"
    model.save(made)
    if onnx:
        onnx_files.write(model.scorer.module, made)
    lineage = Lineage("r", "d-1", config.fingerprint(), {}, "s", (Fold(START, NOW, NOW + 1),))
    registry = Registry.of(paths)
    version = registry.register(made, lineage, Decision("r", Status.PASSED))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis_program.running()) if redis else None
        if server is not None:
            monkeypatch.setenv("OSTINATO_PROFILE", "production")
            monkeypatch.setenv("OSTINATO_REDIS", server.connection)
            monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{folder}/registry.db")
            monkeypatch.setenv("OSTINATO_OFFLINE", str(folder / "offline"))
        apply(open_store(paths, PROJECT), paths)
        table = rows(users)
        with contextlib.closing(open_online(paths, PROJECT)) as store:
            store.write("user_sequence", "user_id", table.to_batches(max_chunksize=500))
        here = str(Path(__file__).parent)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *sys.path]))
        stack.callback(processes.stop_all, paths)
        yield World(config, version, registry.fetch(version), parameters, table, server)
