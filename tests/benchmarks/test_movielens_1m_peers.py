"""MovieLens-1M against a peer: its SASRec, our SASRec rivals and the unified model, in one run.

    python3.11 -m venv ../peer
    ../peer/bin/pip install torch==2.13.0 "rectools[torch]==0.19.0"
    OSTINATO_PEER_PYTHON=../peer/bin/python make bench PYTEST_ARGS="-k movielens_1m_peers"

The peer is RecTools, trained in an environment of its own (it wants NumPy below 2) through
`peer_sasrec.py`. Leave-one-out: each user's last film is the test, the one before it is known when
asked but not trained on; the whole catalogue is ranked less what the user has watched, by the last
200 films. All but the unified model stop by the clock, after `OSTINATO_CPU_SECONDS` (900) of
training; the unified model runs the epochs of its shipped configuration. The CPU seconds told are
those of training with its set-up. One thread each.

`OSTINATO_SYSTEMS` picks some, divided by spaces, and their order:

- `rectools-sasrec`: as the library publishes it (d 256, 2 blocks, 4 heads, dropout .2, Adam 1e-3,
  batches of 128 histories, full softmax, which is its default), but for the history of 200 that the
  protocol says (its default is 100);
- `rectools-sasrec-64`: the same at our width and heads (d 64, 2 heads);
- `rectools-sasrec-64-bce`: that with the loss of the SASRec paper, one negative (`loss="BCE"`);
- `rectools-esasrec-64`: its authors' strongest recipe: LiGR blocks and sampled softmax with 256
  negatives, d 64, 2 heads; made for a GPU (a step takes 10 CPU s), so only when it is picked;
- `sasrec`, `sasrec-softmax`: ours of `recommender/baselines`, by the defaults of
  `evaluation.neural` (d 64, 2 blocks, 2 heads, batches of 4,096 events): one negative, and full
  softmax;
- `unified`: `configs/movielens-1m-order.yaml`, changed by `OSTINATO_SET`.

`OSTINATO_SEED` (7) is every system's. Tokens are events read, padding not counted.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from leave_one_out_training import train_leave_one_out
from movielens_1m import in_order
from worlds import changed

from recommender.artifact import Model
from recommender.baselines.neural.next_item import NextItem
from recommender.baselines.neural.sasrec import (
    SASRec,
    SASRecModule,
    SASRecPairsModule,
    SASRecSoftmax,
)
from recommender.baselines.neural.sequences import Learned
from recommender.config import Config
from recommender.evaluation.metrics import hits, metric_names, per_request
from recommender.evaluation.protocols import LeaveOneOut
from recommender.evaluation.score import score
from recommender.features.dataset import Dataset
from recommender.split import Fold

K = 10
HISTORY = 200
INSTALL = "pip install torch==2.13.0 'rectools[torch]==0.19.0' in a virtual environment of its own"
WIDTH = {"n_factors": 64, "n_heads": 2}
PEERS: dict[str, dict[str, Any]] = {
    "rectools-sasrec": {},
    "rectools-sasrec-64": WIDTH,
    "rectools-sasrec-64-bce": {**WIDTH, "loss": "BCE", "n_negatives": 1},
    "rectools-esasrec-64": {
        **WIDTH,
        "layers": "ligr",
        "loss": "sampled_softmax",
        "n_negatives": 256,
    },
}
RIVALS = ("sasrec", "sasrec-softmax")
EVERY = (*PEERS, *RIVALS, "unified")
USUAL = tuple(name for name in EVERY if name != "rectools-esasrec-64")


@dataclass(frozen=True)
class Result:
    """What a system reached, and what that took."""

    ndcg: float
    hr: float
    cpu: float
    epochs: float
    tokens: int
    parameters: int
    note: str = ""

    def row(self, name: str) -> str:
        rate = self.tokens / self.cpu / 1000
        return (
            f"| {name} | {self.ndcg:.4f} | {self.hr:.4f} | {self.cpu:.0f} | {self.epochs:.1f} | "
            f"{rate:.1f} k | {self.parameters:,} |"
        )


class Read:
    """Counts the events that a rival has read in training."""

    tokens = 0

    def count(self, batch: Learned) -> None:
        self.tokens += int(batch.sequences.lengths.sum())


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(28_800)
def test_movielens_1m_peers(shared_data: Path, tmp_path: Path) -> None:
    systems = os.environ.get("OSTINATO_SYSTEMS", " ".join(USUAL)).split()
    unknown = set(systems) - set(EVERY)
    assert not unknown, f"OSTINATO_SYSTEMS names {sorted(unknown)}; there are {EVERY}"
    interpreter = os.environ.get("OSTINATO_PEER_PYTHON")
    if interpreter is None and set(systems) & set(PEERS):
        pytest.skip(f"OSTINATO_PEER_PYTHON is not set: {INSTALL}, and name its interpreter")
    seconds = float(os.environ.get("OSTINATO_CPU_SECONDS", "900"))
    seed = int(os.environ.get("OSTINATO_SEED", "7"))
    given = f"{os.environ.get('OSTINATO_SET', '')} seed={seed}"
    config, dataset, cut = in_order(shared_data, tmp_path, given)
    torch.set_num_threads(1)
    print(
        f"\n\n{len(cut.test)} users, {len(dataset.catalogue)} films, seed {seed}, "
        f"{seconds:.0f} CPU s; ours: torch {torch.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}\n\n"
        "| system | NDCG@10 | HR@10 | CPU s | epochs | tokens per CPU s | parameters |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    notes = []
    for name in systems:
        if name in PEERS:
            folder = tmp_path / name
            folder.mkdir()
            result = peer(str(interpreter), folder, PEERS[name], dataset, cut, seconds, seed)
        elif name in RIVALS:
            result = rival(name, dataset, cut, config, seconds)
        else:
            result = unified(dataset, cut, config)
        print(result.row(name), flush=True)
        notes.append(f"{name}: {result.note}")
    print("\n" + "\n".join(notes))
    assert len(cut.test) == 6040
    assert len(dataset.catalogue) == 3416


def peer(
    interpreter: str,
    folder: Path,
    settings: dict[str, Any],
    dataset: Dataset,
    cut: LeaveOneOut,
    seconds: float,
    seed: int,
) -> Result:
    """Train the peer in its own environment, and measure the lists that it recommends."""
    train, asked = cut.train, cut.test
    known = asked.histories(np.arange(len(asked)))
    np.savez(
        folder / "events.npz",
        train_user=train.user_of_event,
        train_item=train.items,
        train_place=np.arange(len(train.items)) - train.offsets[train.user_of_event],
        known_user=np.repeat(np.arange(len(asked)), known.lengths),
        known_item=known.items,
        known_place=np.arange(len(known.items)) - np.repeat(known.offsets[:-1], known.lengths),
    )
    told = {
        "settings": {"session_max_len": HISTORY, **settings},
        "cpu_seconds": seconds,
        "seed": seed,
        "k": K,
    }
    (folder / "asked.json").write_text(json.dumps(told))
    script = Path(__file__).with_name("peer_sasrec.py")
    # Its own interpreter sees its own packages alone.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [interpreter, str(script), str(folder)],
        env={**environment, **one},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the peer failed; {INSTALL}\n{done.stderr[-4000:]}")
    answer = json.loads((folder / "told.json").read_text())
    lists = np.load(folder / "lists.npy")
    assert lists.shape == (len(asked), K)
    for row in range(len(asked)):
        seen = known.items[known.offsets[row] : known.offsets[row + 1]]
        assert not np.isin(lists[row], seen).any(), "the peer recommends what was watched"
    found = hits(np.maximum(lists, 0), asked.relevance(np.arange(len(asked)))) & (lists >= 0)
    versions = ", ".join(f"{name} {version}" for name, version in answer["versions"].items())
    return Result(
        *means(per_request(found, asked.relevant_counts, (K,))),
        answer["cpu_seconds"],
        answer["epochs"],
        answer["tokens"],
        answer["parameters"],
        f"last loss {answer['loss']:.4f}, {answer['seconds']:.0f} s of wall time; {versions}",
    )


def rival(name: str, dataset: Dataset, cut: LeaveOneOut, config: Config, seconds: float) -> Result:
    """Train a rival of ours for some CPU seconds, on all that lies before the last two films."""
    read = Read()
    kind, network = (
        (SASRec, SASRecPairsModule) if name == "sasrec" else (SASRecSoftmax, SASRecModule)
    )
    timed = changed(
        config, {"evaluation.neural.epochs": 100_000, "evaluation.neural.cpu_seconds": seconds}
    )
    learned = replace(dataset, log=cut.train)
    end = int(cut.train.times.max()) + 1
    cpu, wall = time.process_time(), time.perf_counter()
    model = counted(kind, network, read).fit(learned, Fold(end, end, end), timed)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert isinstance(model.scorer, NextItem)
    events = len(cut.train.items)
    return Result(
        *scored(model, cut, name),
        cpu,
        read.tokens / events,
        read.tokens,
        model.scorer.parameters,
        f"{wall:.0f} s of wall time",
    )


def counted(kind: type[NextItem], network: type[Any], read: Read) -> type[NextItem]:
    """Return the rival with its reading counted."""

    class Counted(network):  # type: ignore[misc]
        def loss(self, batch: Learned) -> torch.Tensor:
            read.count(batch)
            found: torch.Tensor = super().loss(batch)
            return found

    return type(kind.__name__, (kind,), {"network": Counted})


def unified(dataset: Dataset, cut: LeaveOneOut, config: Config) -> Result:
    """Train the unified model by its configuration."""
    cpu, wall = time.process_time(), time.perf_counter()
    trained = train_leave_one_out(dataset, cut, config)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    torch.set_num_threads(1)
    return Result(
        *scored(trained.model, cut, "unified"),
        cpu,
        len(trained.curve),
        sum(epoch.events for epoch in trained.curve),
        trained.parameters,
        f"last loss {trained.curve[-1].item_loss:.4f}, {wall:.0f} s of wall time",
    )


def scored(model: Model, cut: LeaveOneOut, name: str) -> tuple[float, float]:
    """Return NDCG@10 and HR@10 on the test requests."""
    rows = np.arange(len(cut.test))
    return means(score(model.scorer, HISTORY, cut.test, rows, (K,), label=name).metrics)


def means(metrics: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Return the means of NDCG@10 and HR@10."""
    by_name = dict(zip(metric_names((K,)), metrics.mean(axis=0), strict=True))
    return float(by_name["ndcg@10"]), float(by_name["hr@10"])
