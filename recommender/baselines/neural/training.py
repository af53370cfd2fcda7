"""The loop that trains every neural rival: search for the number of epochs, then refit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.errors import TrainingError
from recommender.split import Fold
from recommender.training.cpu import keep_memory
from recommender.training.device import deterministic

logger = logging.getLogger(__name__)

_WARMUP_STEPS = 100
_CLIP = 5.0

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Task(Generic[Module]):
    """A fresh module, and what it is to learn.

    Attributes:
        module: trained in place.
        batches: the batches of one epoch, in an order drawn from the generator.
        loss: of one batch, a scalar.
    """

    module: Module
    batches: Callable[[np.random.Generator], Iterable[Any]]
    loss: Callable[[Any], Tensor]


def train(
    name: str,
    make: Callable[[int], Task[Module]],
    judge: Callable[[Module], float] | None,
    fold: Fold,
    config: Config,
) -> Module:
    """Train a module, on everything before the fold's test window in the end.

    Args:
        name: of the rival, for messages.
        make: the task of learning what lies before a cut (ms), with the module fresh.
        judge: how good a module is on the validation window, higher is better; None where nothing
            can be judged: all of `evaluation.neural.epochs` are run on what lies before the test
            window.
        fold: the cuts.
        config: `evaluation.neural`, `training.refit`, `training.threads` and `seed` are read.

    Returns:
        the module, in evaluation mode.

    Raises:
        TrainingError: there is nothing to learn, or a loss is not finite.
    """
    settings = config.evaluation.neural
    keep_memory()
    with deterministic(config.training.threads):
        if judge is None:
            whole = _made(make, fold.test_start, config)
            return _run(name, whole, None, settings.epochs, config)[0]
        task = _made(make, fold.validation_start, config)
        module, best = _run(name, task, judge, settings.epochs, config)
        if config.training.refit:
            module, _ = _run(name, _made(make, fold.test_start, config), None, best, config)
        return module


def _made(make: Callable[[int], Task[Module]], cut: int, config: Config) -> Task[Module]:
    torch.manual_seed(config.seed)
    return make(cut)


def _run(
    name: str,
    task: Task[Module],
    judge: Callable[[Module], float] | None,
    epochs: int,
    config: Config,
) -> tuple[Module, int]:
    """Train for some epochs; return the module at its best epoch, and which that was."""
    settings, module = config.evaluation.neural, task.module
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    random = np.random.default_rng(config.seed)
    best, best_epoch, kept = -math.inf, epochs, None
    step, started = 0, time.process_time()
    for epoch in range(1, epochs + 1):
        module.train()
        total, count = 0.0, 0
        for batch in task.batches(random):
            rate = settings.learning_rate * min(1.0, (step + 1) / _WARMUP_STEPS)
            total += _step(name, task, optimizer, batch, rate, step)
            step, count = step + 1, count + 1
            if _over(settings, started):
                break
        if not count:
            raise TrainingError(
                f"{name}: nothing lies before the cut that could be learned",
                "check actions.success and the shares in split",
            )
        module.eval()
        note = f"{name}: epoch {epoch}, loss {total / count:.4f}"
        if judge is not None:
            quality = judge(module)
            note += f", {quality:.4f} on the validation window"
            if quality > best:
                best, best_epoch = quality, epoch
                kept = {key: value.clone() for key, value in module.state_dict().items()}
        logger.info("%s, %.0f s of CPU", note, time.process_time() - started)
        stale = judge is not None and epoch - best_epoch >= settings.patience
        if _over(settings, started) or stale:
            break
    if kept is not None:
        module.load_state_dict(kept)
    return module.eval(), best_epoch


def _step(
    name: str,
    task: Task[Module],
    optimizer: torch.optim.Optimizer,
    batch: Any,
    rate: float,
    step: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss = task.loss(batch)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(task.module.parameters(), _CLIP).item()
    if not (math.isfinite(loss.item()) and math.isfinite(norm)):
        raise TrainingError(
            f"{name}: the loss is {loss.item():.4g}, or its gradient is not finite, at step "
            f"{step + 1}",
            "lower evaluation.neural.learning_rate",
        )
    optimizer.step()
    return loss.item()


def _over(settings: NeuralRivalsConfig, started: float) -> bool:
    return (
        settings.cpu_seconds is not None and time.process_time() - started >= settings.cpu_seconds
    )
