"""How fast the model trains on a GPU, and how much of the machine it uses.

    make bench PYTEST_ARGS="-k gpu_training"

Random histories of 1,024 events over 100,000 items, D 512, 8 blocks, 8 heads, bfloat16, packed, a
sampled softmax with 1,024 negatives; then, in the same run, what many implementations of SASRec do:
the same size, padded, float32, binary cross-entropy with one negative. MFU: model FLOPs
(`recommender.training.work`) by seconds by what one product of 8,192 × 8,192 reaches in bfloat16.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from recommender.config.actions import ActionsConfig
from recommender.config.model import ModelConfig
from recommender.config.training import TrainingConfig
from recommender.features.sequences import EventLog
from recommender.model.moving import moved
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch
from recommender.training.device import deterministic, matmul_peak, precision, rounded
from recommender.training.examples import Examples
from recommender.training.objective import Objective
from recommender.training.rows import clip
from recommender.training.state import optimizer_of
from recommender.training.work import model_flops

ITEMS, HISTORY, WIDTH, BLOCKS, HEADS = 100_000, 1024, 512, 8, 8
STEPS, WARM, WINDOWS = 20, 5, 48
ACTIONS = ActionsConfig(types=("view",), history=("view",), exclude_seen=True)

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.timeout(1_800),
]


@dataclass(frozen=True)
class Speed:
    """Events per second, the share of the products' peak, and the GPU's memory at most, MiB."""

    events: float
    used: float
    memory: float


def examples(users: int = 4 * WINDOWS) -> Examples:
    random = np.random.default_rng(1)
    lengths = random.integers(HISTORY // 4, HISTORY + 1, users)
    offsets = np.concatenate([[0], lengths.cumsum()])
    events = int(offsets[-1])
    log = EventLog(
        tuple(f"u{row}" for row in range(users)),
        offsets.astype(np.int64),
        random.integers(0, ITEMS, events).astype(np.int32),
        np.ones(events, np.int8),
        np.concatenate([np.sort(random.integers(1, 10**11, length)) for length in lengths]),
        np.zeros(events, np.float32),
    )
    made = Examples.build(log, 10**12, ITEMS, ACTIONS, HISTORY, 0.0, slices=1, latest_window=True)
    made.known[:] = True
    return made


def speed(learned: Examples, model: ModelConfig, settings: TrainingConfig, packed: bool) -> Speed:
    device = torch.device("cuda")
    torch.manual_seed(0)
    module = UnifiedTransformer(
        model,
        1,
        torch.zeros(ITEMS, 1),
        torch.from_numpy(learned.known),
        torch.from_numpy(learned.latest),
        repeats=False,
    )
    module.to(device).train()
    module.packed = packed
    module.sparse_rows(settings.loss != "full")
    objective = Objective(learned, settings).to(device)
    optimizer = optimizer_of(module, settings)
    windows = np.random.default_rng(2).permutation(len(learned.window_length))
    torch.cuda.reset_peak_memory_stats(device)
    events, flops, started = 0, 0.0, 0.0
    with precision(settings.precision):
        for step in range(WARM + STEPS):
            if step == WARM:
                torch.cuda.synchronize()
                events, flops, started = 0, 0.0, time.perf_counter()
            turn = np.arange(WINDOWS) + step * WINDOWS
            batch = Batch.of(learned, windows[turn % len(windows)])
            events += batch.tokens
            flops += model_flops(module, batch, objective.softmax)
            optimizer.zero_grad()
            with rounded(settings.precision, device):
                lost = objective(module, moved(batch, device))
            lost.total.backward()
            clip(module.parameters(), 1.0)
            optimizer.step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
    peak = matmul_peak(device, "bf16", 1)
    memory = torch.cuda.max_memory_allocated(device) / 2**20
    return Speed(events / seconds, flops / seconds / peak, memory)


def test_gpu_training() -> None:
    learned = examples()
    shape = {"width": WIDTH, "layers": BLOCKS, "heads": HEADS, "history": HISTORY}
    timeless = {"event_time": False, "request_time": False, "time_bias": False}
    ours = {"precision": "bf16", "loss": "sampled", "negatives": 1024, "empty_share": 0.0}
    plain = {"precision": "float32", "loss": "gbce", "negatives": 1, "calibration": 0.0}
    common = {"action_weight": 0.0, "deterministic": False}
    rows = {
        "packed, bf16, rotary": (ModelConfig(**shape, **timeless, position="rotary"), ours, True),
        "packed, bf16, biases of places and time": (ModelConfig(**shape), ours, True),
        "padded, bf16, rotary": (ModelConfig(**shape, **timeless, position="rotary"), ours, False),
        "padded, float32, BCE, absolute": (
            ModelConfig(**shape, **timeless, position="absolute"),
            plain | {"empty_share": 0.0},
            False,
        ),
    }
    name, peak = torch.cuda.get_device_name(), matmul_peak(torch.device("cuda"), "bf16", 1)
    print(f"\n\n{name}, torch {torch.__version__}, {peak / 1e12:.0f} TFLOP/s in bfloat16\n")
    print("| | events per second | MFU | memory, GiB |\n|---|---:|---:|---:|")
    with deterministic(1, exact=False):
        for label, (model, settings, packed) in rows.items():
            found = speed(learned, model, TrainingConfig(**common, **settings), packed)
            used, memory = f"{found.used:.1%}", f"{found.memory / 1024:.1f}"
            print(f"| {label} | {found.events:,.0f} | {used} | {memory} |", flush=True)
            assert found.events > 0
