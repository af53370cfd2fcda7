"""Where training computes, and how exactly: processor or GPU, and the numbers of its products."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any

import torch

from recommender.config.training import TrainingConfig
from recommender.errors import TrainingError
from recommender.model.transformer import UnifiedTransformer
from recommender.training.cpu import fast_products

# Products of this size keep the units busy: on a GPU some ms, on a core some 20 ms.
_LARGE, _SMALL = 8192, 1024
_TRIES = 3


def device_of(config: TrainingConfig) -> torch.device:
    """Return where to train.

    Raises:
        TrainingError: a GPU is wanted and there is none.
    """
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise TrainingError(
            "training.device is cuda, and torch finds no GPU here",
            "set training.device to auto or cpu, or install a torch that is built for the GPU",
        )
    if config.device == "cpu" or not there:
        return torch.device("cpu")
    # cuBLAS repeats its sums only with a workspace that it is given before it begins.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", torch.cuda.current_device())


def packs(config: TrainingConfig, module: UnifiedTransformer, device: torch.device) -> bool:
    """Return whether histories are read end to end.

    Raises:
        TrainingError: that is wanted, and can't be done.
    """
    can = device.type == "cuda" and module.config.block == "swiglu"
    if config.packed == "on" and not can:
        raise TrainingError(
            "training.packed is on, but packed histories are learned from on a GPU only, and by "
            f"softmax attention only (device {device.type}, model.block {module.config.block})",
            "set training.packed to auto",
        )
    return can and config.packed != "off"


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Do matrix products as is wanted while inside.

    Args:
        name: as `config.training.precision`. Unless it is `float32`, a GPU rounds the factors of
            products in float32 to TF32.
    """
    products: Any = torch.backends.cuda.matmul
    before = products.allow_tf32
    products.allow_tf32 = name != "float32"
    try:
        with fast_products() if name == "fast" else nullcontext():
            yield
    finally:
        products.allow_tf32 = before


@contextmanager
def deterministic(threads: int, *, exact: bool = True) -> Iterator[None]:
    """Make torch repeatable, with its own random state, and put things back after.

    Args:
        threads: of the processor; as many give the same bytes.
        exact: whether operations that don't repeat to the byte are refused.
    """
    memory: Any = torch.utils.deterministic
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exact)
    memory.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        memory.fill_uninitialized_memory = before[2]


def rounded(name: str, device: torch.device) -> AbstractContextManager[None]:
    """Return what a batch is computed in: its products in bfloat16, if that is wanted.

    Entered anew for every batch, because it keeps the rounded weights until it is left.

    Args:
        name: of the precision, as `config.training.precision`.
        device: where.
    """
    if name != "bf16":
        return nullcontext()
    mixed: Any = torch.autocast(device.type, torch.bfloat16)
    return mixed  # type: ignore[no-any-return]


@cache
def matmul_peak(device: torch.device, name: str, threads: int) -> float:
    """Return how many FLOP/s one large matrix product reaches here, the best of some tries.

    What a step's use of the machine is measured against: the sum of its model's FLOPs, by its
    seconds, by this.

    Args:
        device: where.
        name: of the precision, as `config.training.precision`.
        threads: of the processor; the figure is kept for them.
    """
    del threads
    size = _LARGE if device.type == "cuda" else _SMALL
    dtype = torch.bfloat16 if name == "bf16" else torch.float32
    one, out = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    best = float("inf")
    with precision(name):
        for _ in range(1 + _TRIES):
            started = perf_counter()
            torch.mm(one, one, out=out)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, perf_counter() - started)
    return 2 * size**3 / best


@dataclass(frozen=True)
class Machine:
    """What a training runs on, and what its figures are measured against.

    Attributes:
        device: of this process.
        precision: as `config.training.precision`.
        threads: of the processor.
        softmax: items in the softmax of a context.
        processes: that train together, each on a machine like this one.
    """

    device: torch.device
    precision: str
    threads: int
    softmax: int
    processes: int

    def utilisation(self, flops: float, seconds: float) -> float | None:
        """Return which share of what its products could do a training has done (MFU).

        Args:
            flops: model FLOPs, of all processes.
            seconds: that they took.
        """
        if seconds <= 0:
            return None
        peak = matmul_peak(self.device, self.precision, self.threads) * self.processes
        return flops / seconds / peak


def most_memory(device: torch.device) -> float:
    """Return the most memory that was taken so far, MiB: of the GPU's, or of this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10
