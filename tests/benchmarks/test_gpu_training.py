"""How fast the model trains on a GPU, and how much of the machine it uses.

    make bench PYTEST_ARGS="-k gpu_training"

Random histories of 1,024 events over 100,000 items, D 512, 8 blocks, 8 heads, bfloat16, packed, a
sampled softmax with 1,024 negatives; then, in the same run, what many implementations of SASRec do:
the same size, padded, float32, binary cross-entropy of each target and one item drawn evenly. All
of them through the product's training loop; told is the best epoch but the first. MFU: model FLOPs
(`recommender.training.work`) by seconds by what one product of 8,192 × 8,192 reaches in bfloat16.
`OSTINATO_DEVICE=cpu` runs a tiny version on a CPU, whose figures mean nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from recommender.config.actions import ActionsConfig
from recommender.config.model import ModelConfig
from recommender.config.training import TrainingConfig
from recommender.features.catalogue import Catalogue
from recommender.features.sequences import EventLog
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, among
from recommender.training.checkpoint import Checkpoints
from recommender.training.device import deterministic, matmul_peak, precision
from recommender.training.examples import Examples
from recommender.training.loop import fit
from recommender.training.objective import Objective
from recommender.training.state import Phase
from recommender.training.tasks import Lost

TINY = os.environ.get("OSTINATO_DEVICE") == "cpu"
ITEMS, HISTORY, WIDTH = (300, 16, 16) if TINY else (100_000, 1024, 512)
BLOCKS, HEADS, WINDOWS, EPOCHS = 8, 8, 48, 4
ACTIONS = ActionsConfig(types=("view",), history=("view",), exclude_seen=True)

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not (TINY or torch.cuda.is_available()), reason="needs a GPU"),
    pytest.mark.timeout(1_800),
]


@dataclass(frozen=True)
class Speed:
    """Events per second, the share of the products' peak, and the most memory taken, MiB."""

    events: float
    used: float
    memory: float


class OnePair(Objective):
    """Binary cross-entropy of each target and one item that was drawn evenly (SASRec)."""

    def __call__(self, module: UnifiedTransformer, batch: Batch) -> Lost:
        """Return the loss; vectors are those of the rows that the step reads."""
        wanted_N, context_N = batch.targets.item, batch.targets.context
        drawn_N = self.known_N[torch.randint(len(self.known_N), wanted_N.shape).to(wanted_N.device)]
        both_N2 = torch.stack([wanted_N, drawn_N], dim=1)
        read = (both_N2.flatten(), batch.histories.items.flatten(), batch.action_item)
        rows_R = torch.unique(torch.cat(read))
        items_RD = module.item_vectors(rows_R)
        batch = among(batch, rows_R)
        query_KD = module.read(items_RD, batch.histories, batch.contexts)[0][batch.asked]
        pair_N2D = items_RD[torch.searchsorted(rows_R, both_N2)]
        logits_N2 = torch.einsum("nd,nkd->nk", query_KD[context_N], pair_N2D)
        sign_2 = logits_N2.new_tensor([-1.0, 1.0])
        loss = nn.functional.softplus(sign_2 * logits_N2).sum(dim=1).mean()
        nothing = loss.new_zeros(())
        return Lost(loss, nothing, nothing, loss)


def examples(users: int) -> Examples:
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


def speed(
    learned: Examples,
    model: ModelConfig,
    settings: TrainingConfig,
    objective: Objective | None,
    checkpoints: Checkpoints,
) -> Speed:
    torch.manual_seed(0)
    module = UnifiedTransformer(
        model,
        1,
        torch.zeros(ITEMS, 1),
        torch.from_numpy(learned.known),
        torch.from_numpy(learned.latest),
        repeats=False,
    )
    catalogue = Catalogue(tuple(f"i{row}" for row in range(ITEMS)))
    phase = Phase("search", learned, None, EPOCHS, 1)
    if not TINY:
        torch.cuda.reset_peak_memory_stats()
    with precision(settings.precision):
        _, curve = fit(
            phase, module, catalogue, settings, checkpoints, "speed", objective=objective
        )
    best = max(curve[1:], key=lambda epoch: epoch.events / epoch.seconds)
    peak = matmul_peak(torch.device("cpu" if TINY else "cuda"), "bf16", 1)
    used = best.flops / best.seconds / peak
    return Speed(best.events / best.seconds, used, best.memory_mb or 0.0)


def test_gpu_training(tmp_path: Path) -> None:
    learned = examples(12 * WINDOWS)
    shape = {"width": WIDTH, "layers": BLOCKS, "heads": HEADS, "history": HISTORY}
    timeless = {"event_time": False, "request_time": False, "time_bias": False}
    common = {
        "action_weight": 0.0,
        "deterministic": False,
        "empty_share": 0.0,
        "epochs": EPOCHS,
        "tokens_per_batch": WINDOWS * HISTORY * 5 // 8,
        "checkpoint_every_steps": 10**6,
    }
    ours = {**common, "precision": "bf16", "loss": "sampled", "negatives": 1024}
    padded = {**ours, "packed": "off"}
    plain = {**common, "precision": "float32", "packed": "off"}
    rotary = ModelConfig(**shape, **timeless, position="rotary")
    absolute = ModelConfig(**shape, **timeless, position="absolute")
    rows = {
        "packed, bf16, rotary": (rotary, ours, Objective),
        "packed, bf16, biases of places and time": (ModelConfig(**shape), ours, Objective),
        "padded, bf16, rotary": (rotary, padded, Objective),
        "padded, float32, BCE, absolute": (absolute, plain, OnePair),
    }
    name = "CPU" if TINY else torch.cuda.get_device_name()
    print(f"\n\n{name}, torch {torch.__version__}\n")
    print("| | events per second | MFU | memory, GiB |\n|---|---:|---:|---:|")
    with deterministic(1, exact=False):
        for label, (model, given, kind) in rows.items():
            settings = TrainingConfig(**given)
            found = speed(
                learned, model, settings, kind(learned, settings), Checkpoints(tmp_path / label, "")
            )
            used, memory = f"{found.used:.1%}", f"{found.memory / 1024:.1f}"
            print(f"| {label} | {found.events:,.0f} | {used} | {memory} |", flush=True)
            assert found.events > 0
