"""The loop: epochs of steps, validation after each, checkpoints, and an exact continuation.

Everything that decides the next step lies in `_Run`: weights, optimiser moments, the random state,
the place in the data, and the best so far. A checkpoint is that, so a run that was killed goes on
to the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from recommender.config.training import TrainingConfig
from recommender.errors import TrainingError
from recommender.features.sequences import Catalogue, Ints
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.progress import Progress
from recommender.training.batches import Batch, plan
from recommender.training.checkpoint import Checkpoint, Checkpoints
from recommender.training.examples import Examples
from recommender.training.objective import Objective
from recommender.training.validation import Validation


@dataclass(frozen=True)
class Epoch:
    """One row of the curve.

    Attributes:
        phase: "search" or "refit".
        epoch: from 1.
        item_loss: mean over batches of the next-item cross-entropy, nats per target.
        action_loss: mean over batches of the next-action cross-entropy, nats per event.
        ndcg: validation NDCG@10; None where nothing was validated.
        learning_rate: at the end of the epoch.
        seconds: of training, without validation.
        events: in the training windows, without padding.
    """

    phase: str
    epoch: int
    item_loss: float
    action_loss: float
    ndcg: float | None
    learning_rate: float
    seconds: float
    events: int


@dataclass(frozen=True)
class Position:
    """Where a run is. The sums are over the epoch so far."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    item_sum: float = 0.0
    action_sum: float = 0.0
    seconds: float = 0.0
    events: int = 0
    best: float = 0.0
    best_epoch: int = 0


@dataclass(frozen=True)
class Phase:
    """One training from the first weights to the last.

    Attributes:
        name: "search" or "refit".
        examples: what is learned from.
        validation: the requests after each epoch; None or empty: all epochs are run.
        epochs: the cosine ends here.
        seed: of the order of the data and of dropout.
        before: the curve of the phase before this one.
    """

    name: str
    examples: Examples
    validation: Validation | None
    epochs: int
    seed: int
    before: tuple[Epoch, ...] = ()


@dataclass
class _Run:
    module: UnifiedTransformer
    optimizer: torch.optim.Optimizer
    position: Position = field(default_factory=Position)
    curve: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


def fit(
    phase: Phase,
    module: UnifiedTransformer,
    catalogue: Catalogue,
    config: TrainingConfig,
    checkpoints: Checkpoints,
    label: str,
    on_step: Callable[[int], None] | None = None,
) -> tuple[int, list[Epoch]]:
    """Train a module in place; afterwards it holds the weights of the best epoch.

    Args:
        phase: what is learned, and for how long.
        module: fresh; overwritten by a checkpoint of the same phase.
        catalogue: the items.
        config: of the optimiser and of early stopping.
        checkpoints: of this run; a good one of this phase is gone on from.
        label: for the progress display.
        on_step: called with the number of every finished step.

    Returns:
        the best epoch (from 1; the last where nothing was validated) and the curve.

    Raises:
        TrainingError: a loss or gradient is not finite.
    """
    torch.manual_seed(phase.seed)
    run = _Run(module, _optimizer(module, config), curve=list(phase.before))
    _resume(run, phase, checkpoints)
    objective = Objective(phase.examples, config.action_weight)
    batches = plan(phase.examples, config.tokens_per_batch, phase.seed, run.position.epoch)
    progress = Progress(label, phase.epochs * len(batches))
    progress.advance(run.position.step)
    while not _finished(run.position, phase, config):
        epoch = run.position.epoch
        batches = plan(phase.examples, config.tokens_per_batch, phase.seed, epoch)
        while run.position.batch < len(batches):
            _step(run, phase, config, objective, batches)
            progress.advance(1, _note(run))
            step = run.position.step
            if step % config.checkpoint_every_steps == 0 and run.position.batch < len(batches):
                _save(run, phase, checkpoints)
            if on_step is not None:
                on_step(step)
        _end_epoch(run, phase, config, catalogue)
        _save(run, phase, checkpoints)
    if run.best:
        module.load_state_dict(run.best)
    if progress.total and progress.done < progress.total:
        progress.advance(progress.total - progress.done, _note(run))
    return run.position.best_epoch or run.position.epoch, run.curve


def _finished(position: Position, phase: Phase, config: TrainingConfig) -> bool:
    stale = position.epoch - position.best_epoch
    return position.epoch >= phase.epochs or (bool(phase.validation) and stale >= config.patience)


def _step(
    run: _Run, phase: Phase, config: TrainingConfig, objective: Objective, batches: list[Ints]
) -> None:
    """Take one step of the optimiser."""
    started = time.perf_counter()
    at = run.position
    share = (at.epoch + at.batch / len(batches)) / phase.epochs
    rate = learning_rate(config, at.step, share)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.module.train()
    batch = Batch.of(phase.examples, batches[at.batch])
    item_loss, action_loss = objective(run.module, batch)
    run.optimizer.zero_grad()
    loss = item_loss + config.action_weight * action_loss
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(run.module.parameters(), config.clip)
    if not (math.isfinite(loss.item()) and math.isfinite(norm.item())):
        raise TrainingError(
            f"{phase.name}: the loss is {loss.item():.4g} (next item {item_loss.item():.4g}, next "
            f"action {action_loss.item():.4g}) and the gradient's norm {norm.item():.4g} at step "
            f"{at.step + 1}, epoch {at.epoch + 1}, batch {at.batch + 1} of {len(batches)} "
            f"(fingerprint {_fingerprint(batch)}, {batch.tokens} events)",
            f"lower training.learning_rate (it is {config.learning_rate:g}) or training.clip and "
            "run again; with other settings, training starts anew",
        )
    run.optimizer.step()
    run.position = replace(
        at,
        batch=at.batch + 1,
        step=at.step + 1,
        item_sum=at.item_sum + item_loss.item(),
        action_sum=at.action_sum + action_loss.item(),
        seconds=at.seconds + time.perf_counter() - started,
        events=at.events + batch.tokens,
    )


def _end_epoch(run: _Run, phase: Phase, config: TrainingConfig, catalogue: Catalogue) -> None:
    """Validate, and remember the latest epoch that is as good as the best."""
    at = run.position
    ndcg = None
    if phase.validation:
        ndcg = phase.validation.ndcg(TransformerScorer(run.module, catalogue))
    run.curve.append(
        Epoch(
            phase.name,
            at.epoch + 1,
            at.item_sum / at.batch,
            at.action_sum / at.batch,
            ndcg,
            run.optimizer.param_groups[0]["lr"],
            at.seconds,
            at.events,
        )
    )
    following = Position(at.epoch + 1, 0, at.step, best=at.best, best_epoch=at.best_epoch)
    if ndcg is not None and ndcg >= at.best * (1 - config.tie):
        following = replace(following, best=max(at.best, ndcg), best_epoch=at.epoch + 1)
        run.best = {name: value.clone() for name, value in run.module.state_dict().items()}
    run.position = following


def learning_rate(config: TrainingConfig, step: int, share: float) -> float:
    """Return the rate: linear warm-up, then a cosine to nought.

    Args:
        config: peak and warm-up.
        step: finished steps.
        share: of the planned training that is done, 0 … 1.
    """
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * share))


def _optimizer(module: UnifiedTransformer, config: TrainingConfig) -> torch.optim.Optimizer:
    matrices = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def _save(run: _Run, phase: Phase, checkpoints: Checkpoints) -> None:
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    for name, parameter in run.module.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach().clone()
        for moment, value in run.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{moment}"] = value.clone()
    for name, value in run.best.items():
        tensors[f"best/{name}"] = value
    values = {
        "phase": phase.name,
        "epochs": phase.epochs,
        "position": asdict(run.position),
        "curve": [asdict(epoch) for epoch in run.curve],
    }
    checkpoints.save(Checkpoint(values, tensors))


def _resume(run: _Run, phase: Phase, checkpoints: Checkpoints) -> None:
    """Take up the latest good checkpoint of this phase, if there is one."""
    found = checkpoints.latest()
    if found is None or found.values.get("phase") != phase.name:
        return
    run.position = Position(**found.values["position"])
    run.curve = [Epoch(**epoch) for epoch in found.values["curve"]]
    state = run.module.state_dict()
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}, "best": {}}
    for name, value in found.tensors.items():
        kind, _, rest = name.partition("/")
        if rest:
            parts[kind][rest] = value
    run.module.load_state_dict(state | parts["weights"])
    run.best = parts["best"]
    for name, parameter in run.module.named_parameters():
        moments = {
            moment: parts["optimizer"][f"{name}/{moment}"]
            for moment in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}/{moment}" in parts["optimizer"]
        }
        if moments:
            run.optimizer.state[parameter] = moments
    torch.set_rng_state(found.tensors["random"])


def _note(run: _Run) -> str:
    at = run.position
    loss = at.item_sum / at.batch if at.batch else run.curve[-1].item_loss
    last = run.curve[-1].ndcg if run.curve else None
    return f"loss {loss:.3f}" + ("" if last is None else f", NDCG@10 {last:.4f}")


def _fingerprint(batch: Batch) -> str:
    digest = hashlib.sha256()
    histories = batch.histories
    for tensor in (histories.items, histories.actions, histories.times, batch.targets.item):
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()[:12]
