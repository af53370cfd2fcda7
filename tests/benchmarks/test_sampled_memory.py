"""What a step with a sampled softmax takes and costs, by the size of the catalogue.

    make bench PYTEST_ARGS="-k sampled_memory"

D 64, 2 blocks, 1,024 negatives, batches of 4,096 events of random histories. Memory is the most the
process held during the steps less what it held before them, weights and moments included (Linux's
high-water mark, set back before).
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from recommender.config.actions import ActionsConfig
from recommender.config.model import ModelConfig
from recommender.config.training import TrainingConfig
from recommender.features.sequences import EventLog
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, plan
from recommender.training.examples import Examples
from recommender.training.objective import Objective
from recommender.training.rows import clip
from recommender.training.state import optimizer_of

USERS, EVENTS, STEPS = 400, 50, 4
ACTIONS = ActionsConfig(types=("view",), history=("view",), exclude_seen=True)


def held(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def measured(items: int) -> tuple[float, float, float]:
    """Return MiB of the tables, MiB a step takes beside them, and CPU seconds of a step."""
    before = held("VmRSS")
    random = np.random.default_rng(1)
    log = EventLog(
        tuple(f"u{row}" for row in range(USERS)),
        np.arange(USERS + 1, dtype=np.int64) * EVENTS,
        random.integers(0, items, USERS * EVENTS).astype(np.int32),
        np.ones(USERS * EVENTS, np.int8),
        np.sort(random.integers(1, 10**11, (USERS, EVENTS)), axis=1).ravel(),
        np.zeros(USERS * EVENTS, np.float32),
    )
    learned = Examples.build(log, 10**12, items, ACTIONS, EVENTS, 0.0, slices=1)
    learned.known[:] = True
    settings = TrainingConfig(loss="sampled", action_weight=0.0, empty_share=0.0)
    torch.manual_seed(0)
    module = UnifiedTransformer(
        ModelConfig(width=64, layers=2, heads=2, history=EVENTS),
        1,
        torch.zeros(items, 1),
        torch.from_numpy(learned.known),
        torch.from_numpy(learned.latest),
        repeats=False,
    ).train()
    module.sparse_rows(True)
    objective, optimizer = Objective(learned, settings), optimizer_of(module, settings)
    batches = plan(learned, 4096, 0, 0)

    def step(windows: np.ndarray) -> None:
        optimizer.zero_grad()
        objective(module, Batch.of(learned, windows)).total.backward()
        clip(module.parameters(), 1.0)
        optimizer.step()

    step(batches[0])
    for state in optimizer.state.values():  # every page of the moments, as after an epoch
        for moment in state.values():
            moment.add_(0)
    gc.collect()
    tables = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started = time.process_time()
    for turn in range(STEPS):
        step(batches[1 + turn % (len(batches) - 1)])
    seconds = (time.process_time() - started) / STEPS
    return tables - before, held("VmHWM") - tables, seconds


@pytest.mark.benchmark
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("items", [100_000, 500_000, 2_000_000, 10_000_000])
def test_sampled_memory(items: int) -> None:
    torch.set_num_threads(1)
    tables, step, seconds = measured(items)
    print(
        f"\n{items:,} items: {tables:,.0f} MiB of tables, a step takes {step:,.0f} MiB beside them "
        f"and {seconds * 1000:.0f} ms of CPU"
    )
    assert step < 2_000
