"""Where a run of training is: all that decides its next step, and its way into a checkpoint.

Weights, optimiser moments, the random state, the place in the data, and the best so far. A run that
was killed and takes up its checkpoint goes on to the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from recommender.config.training import TrainingConfig
from recommender.model.transformer import UnifiedTransformer
from recommender.training.anchor import Anchor
from recommender.training.checkpoint import Checkpoint, Checkpoints
from recommender.training.examples import Examples
from recommender.training.rows import RowAdamW
from recommender.training.validation import Judge


@dataclass(frozen=True)
class Epoch:
    """One row of the curve.

    Attributes:
        phase: "search", "refit" or "refresh".
        epoch: from 1.
        item_loss: mean over batches of the next-item cross-entropy, nats per target.
        action_loss: mean over batches of the next-action cross-entropy, nats per event.
        ndcg: validation NDCG@10; None where it was not asked for.
        learning_rate: at the end of the epoch.
        seconds: of training, without validation.
        events: in the training windows, without padding.
        flops: model FLOPs of the epoch, as `recommender.training.work` counts them.
        utilisation: these by seconds and by what one large matrix product reaches (MFU).
        memory_mb: most memory taken so far, MiB: of the GPU's, or of the process's.
        value_loss: mean over batches of the sum of the values' losses, each in the unit of its
            head; None where none is learned.
        auc: validation AUC within users; None where it was not asked for.
        rmse: validation error of the values, in units of their deviation; None likewise.
        quality: what epochs are compared by (`training.keep_by`), higher is better; None where
            nothing was validated.
        step: of the phase, at the end of the epoch.
        ended: when, UTC milliseconds.
    """

    phase: str
    epoch: int
    item_loss: float
    action_loss: float
    ndcg: float | None
    learning_rate: float
    seconds: float
    events: int
    flops: float = 0.0
    utilisation: float | None = None
    memory_mb: float | None = None
    value_loss: float | None = None
    auc: float | None = None
    rmse: float | None = None
    quality: float | None = None
    step: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Position:
    """Where a run is. The sums are over the epoch so far; `halvings` are of the learning rate."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    item_sum: float = 0.0
    action_sum: float = 0.0
    seconds: float = 0.0
    events: int = 0
    flops: float = 0.0
    best: float = 0.0
    best_epoch: int = 0
    halvings: int = 0
    value_sum: float = 0.0


@dataclass(frozen=True)
class Phase:
    """One training from the first weights to the last.

    Attributes:
        name: "search", "refit" or "refresh".
        examples: what is learned from.
        validation: asked after each epoch; None or empty: all epochs are run.
        epochs: the cosine ends here.
        seed: of the order of the data and of dropout.
        before: the curve of the phase before this one.
        anchor: pulls the weights back after every step, where they start from a model.
    """

    name: str
    examples: Examples
    validation: Judge | None
    epochs: int
    seed: int
    before: tuple[Epoch, ...] = ()
    anchor: Anchor | None = None


@dataclass
class Run:
    """One training under way.

    Attributes:
        module: in training.
        optimizer: of its parameters.
        position: in the data.
        curve: finished epochs.
        best: the weights of the best epoch so far, empty before it.
        mean: the running mean of the weights, where one is kept.
    """

    module: UnifiedTransformer
    optimizer: torch.optim.Optimizer
    position: Position = field(default_factory=Position)
    curve: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    mean: dict[str, Tensor] = field(default_factory=dict)

    def average(self, decay: float | None) -> None:
        """Take the weights into their running mean."""
        if decay is None:
            return
        for name, parameter in self.module.named_parameters():
            if name in self.mean:
                self.mean[name].lerp_(parameter.detach(), 1 - decay)
            else:
                self.mean[name] = parameter.detach().clone()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of what learns; what is known of items from the start is not copied."""
        return {name: value.detach().clone() for name, value in self.module.named_parameters()}

    def kept(self) -> dict[str, Tensor]:
        """Return a copy of the weights that answer: their running mean, where one is kept."""
        return self.weights() | {name: value.clone() for name, value in self.mean.items()}

    def answer_with(self, weights: dict[str, Tensor]) -> None:
        """Put weights into the module."""
        self.module.load_state_dict(self.module.state_dict() | weights)


def optimizer_of(module: UnifiedTransformer, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return a fresh AdamW: matrices decay, vectors and scalars don't.

    With a sampled loss, rows of the item tables that a step did not read stay as they are.
    """
    tables = module.row_tables() if config.loss != "full" else []
    groups: list[dict[str, Any]] = []
    for some, rows in ((tables, True), (list(module.parameters()), False)):
        own = [p for p in some if rows or not any(p is table for table in tables)]
        matrices, others = [p for p in own if p.ndim > 1], [p for p in own if p.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": config.weight_decay, "rows": rows})
        groups.append({"params": others, "weight_decay": 0.0, "rows": rows})
    groups = [group for group in groups if group["params"]]
    return RowAdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)


def save(run: Run, phase: Phase, checkpoints: Checkpoints) -> None:
    """Write a checkpoint.

    Raises:
        StorageError: it can't be written.
    """
    tensors: dict[str, Tensor] = {"random": torch.get_rng_state()}
    device = run.module.log_scale.device
    if device.type == "cuda":
        tensors["random_cuda"] = torch.cuda.get_rng_state(device)
    for name, parameter in run.module.named_parameters():
        tensors[f"weights/{name}"] = parameter.detach().clone()
        for moment, value in run.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{moment}"] = value.clone()
    for kind, kept in (("best", run.best), ("mean", run.mean)):
        tensors |= {f"{kind}/{name}": value.clone() for name, value in kept.items()}
    values = {
        "phase": phase.name,
        "epochs": phase.epochs,
        "position": asdict(run.position),
        "curve": [asdict(epoch) for epoch in run.curve],
    }
    checkpoints.save(Checkpoint(values, tensors))


def resume(run: Run, phase: Phase, checkpoints: Checkpoints) -> bool:
    """Take up the latest good checkpoint of this phase; return whether there was one."""
    found = checkpoints.latest()
    if found is None or found.values.get("phase") != phase.name:
        return False
    run.position = Position(**found.values["position"])
    run.curve = [Epoch(**epoch) for epoch in found.values["curve"]]
    kinds = ("weights", "optimizer", "best", "mean")
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
    for name, value in found.tensors.items():
        kind, _, rest = name.partition("/")
        if rest:
            parts[kind][rest] = value
    run.answer_with(parts["weights"])
    device = run.module.log_scale.device
    run.best, run.mean = (
        {name: value.to(device) for name, value in parts[kind].items()} for kind in ("best", "mean")
    )
    for name, parameter in run.module.named_parameters():
        moments = {
            moment: parts["optimizer"][f"{name}/{moment}"].to(device)
            for moment in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}/{moment}" in parts["optimizer"]
        }
        if moments:
            run.optimizer.state[parameter] = moments
    torch.set_rng_state(found.tensors["random"])
    if device.type == "cuda" and "random_cuda" in found.tensors:
        torch.cuda.set_rng_state(found.tensors["random_cuda"], device)
    return True


def go_back(run: Run, phase: Phase, checkpoints: Checkpoints, fresh: dict[str, Tensor]) -> None:
    """Go back to the last checkpoint, or to the start, and on with half the learning rate.

    Args:
        run: whose weights, or gradients, are no numbers any more.
        phase: of the run.
        checkpoints: of the run.
        fresh: the weights before the first step.
    """
    halvings = run.position.halvings + 1
    if not resume(run, phase, checkpoints):
        torch.manual_seed(phase.seed)
        run.answer_with(fresh)
        run.optimizer.state.clear()
        run.position, run.curve = Position(), list(phase.before)
        run.best, run.mean = {}, {}
    run.position = replace(run.position, halvings=halvings)
    # A run that is killed from here on doesn't walk into the same fault with the old rate.
    save(run, phase, checkpoints)


def note(run: Run) -> str:
    """Say in one line how training goes: the loss, and what was found by the last validation."""
    at, told = run.position, []
    loss = at.item_sum / at.batch if at.batch else run.curve[-1].item_loss
    if run.curve:
        last = run.curve[-1]
        found = {"NDCG@10": last.ndcg, "AUC": last.auc, "relative RMSE": last.rmse}
        told = [f"{name} {value:.4f}" for name, value in found.items() if value is not None]
    return ", ".join([f"loss {loss:.3f}", *told])
