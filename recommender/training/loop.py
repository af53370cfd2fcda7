"""The loop: epochs of steps, validation after each, checkpoints, and an exact continuation.

What decides the next step lies in `state.Run`. A loss, gradient or weight that is not finite sends
the run back to its last checkpoint with half the learning rate, so often and no oftener.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from recommender.config.training import TrainingConfig
from recommender.errors import TrainingError
from recommender.features.sequences import Catalogue
from recommender.model.moving import moved
from recommender.model.transformer import UnifiedTransformer
from recommender.progress import Progress
from recommender.scoring import Scorer
from recommender.training.batches import Batch
from recommender.training.checkpoint import Checkpoints
from recommender.training.device import Machine, device_of, most_memory, packs, rounded
from recommender.training.feed import Feed, Plan, WholeFeed
from recommender.training.objective import Objective
from recommender.training.soundness import broken
from recommender.training.state import (
    Epoch,
    Phase,
    Position,
    Run,
    go_back,
    note,
    optimizer_of,
    resume,
    save,
)
from recommender.training.team import Alone, Losses, Team
from recommender.training.work import model_flops

logger = logging.getLogger(__name__)


def fit(
    phase: Phase,
    module: UnifiedTransformer,
    catalogue: Catalogue,
    config: TrainingConfig,
    checkpoints: Checkpoints,
    label: str,
    on_step: Callable[[int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    feed: Feed | None = None,
    team: Team | None = None,
    objective: Objective | None = None,
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
        on_epoch: called with every finished epoch, before it is saved; may end training by raising.
        feed: the batches; by default all of `phase.examples`.
        team: the processes that share them; by default this one is alone.
        objective: the losses; by default those of `phase.examples`.

    Returns:
        the best epoch (from 1; the last where nothing was validated) and the curve.

    Raises:
        TrainingError: a loss, gradient or weight is not finite, after `config.recoveries` attempts.
    """
    torch.manual_seed(phase.seed)
    team = team or Alone()
    device = team.device or device_of(config)
    team.share_out(module)
    module.to(device)
    module.packed = packs(config, module, device)
    # Gradients that processes exchange are whole tables.
    module.sparse_rows(config.loss != "full" and isinstance(team, Alone))
    run = Run(module, optimizer_of(module, config), curve=list(phase.before))
    objective = (objective or Objective(phase.examples, config)).to(device)
    losses = team.losses(module, objective)
    # From here on the processes of a group hold the same to the bit: what they go back to, too.
    fresh = {name: value.detach().cpu().clone() for name, value in module.named_parameters()}
    resume(run, phase, checkpoints)
    machine = Machine(device, config.precision, config.threads, objective.softmax, team.size)
    if config.compile:
        for block in module.blocks:
            block.compile()
    feed = feed or WholeFeed(phase.examples, config.tokens_per_batch, phase.seed, config.accumulate)
    plan = feed.epoch(run.position.epoch)
    progress = Progress(label, phase.epochs * plan.steps)
    progress.advance(run.position.step)
    while not _finished(run.position, phase, config):
        epoch = run.position.epoch
        plan = feed.epoch(epoch)
        while run.position.batch < len(plan):
            fault = _step(run, phase, config, losses, plan, team, machine)
            step, over = run.position.step, run.position.batch >= len(plan)
            kept = over or step % config.checkpoint_every_steps == 0
            # What can't be gone on from is not kept: it would be the state to go back to.
            if fault is None and kept:
                fault = broken(run, phase, team)
            if fault is not None:
                if run.position.halvings >= config.recoveries:
                    raise fault
                go_back(run, phase, checkpoints, fresh)
                logger.warning(
                    "%s; going on from step %d with half the learning rate (%d of %d times)",
                    fault,
                    run.position.step,
                    run.position.halvings,
                    config.recoveries,
                )
                break
            progress.advance(1, note(run))
            if kept and not over:
                save(run, phase, checkpoints)
            if on_step is not None:
                on_step(step)
        if run.position.epoch != epoch or run.position.batch < len(plan):
            continue
        _end_epoch(run, phase, config, team.scorer, catalogue, machine)
        if on_epoch is not None:
            on_epoch(run.curve[-1])
        save(run, phase, checkpoints)
    run.answer_with(run.best or run.kept())
    module.packed = False
    module.to("cpu")
    team.put_together(module)
    for block in module.blocks:
        block._compiled_call_impl = None
    if progress.total and progress.done < progress.total:
        progress.advance(progress.total - progress.done, note(run))
    return run.position.best_epoch or run.position.epoch, run.curve


def _finished(position: Position, phase: Phase, config: TrainingConfig) -> bool:
    stale = position.epoch - position.best_epoch
    return position.epoch >= phase.epochs or (bool(phase.validation) and stale >= config.patience)


def _step(
    run: Run,
    phase: Phase,
    config: TrainingConfig,
    losses: Losses,
    plan: Plan,
    team: Team,
    machine: Machine,
) -> TrainingError | None:
    """Take one step of the optimiser; return what forbids it, if anything does."""
    started = time.perf_counter()
    at = run.position
    share = (at.epoch + at.batch / len(plan)) / phase.epochs
    rate = learning_rate(config, at.step, share) * 0.5**at.halvings
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.module.train()
    run.optimizer.zero_grad()
    taken = plan.step(at.batch)
    item_sum, action_sum, value_sum, events, flops = 0.0, 0.0, 0.0, 0, 0.0
    fault = None
    for place, on_cpu in enumerate(taken.mine):
        flops += model_flops(run.module, on_cpu, machine.softmax) * taken.weight
        batch = moved(on_cpu, machine.device)
        with team.gathering(losses, last=place == taken.own - 1):
            with rounded(config.precision, machine.device):
                lost = losses(batch)
            loss = lost.total / (taken.of / team.size)
            (loss * taken.weight).backward()  # type: ignore[no-untyped-call]
        item_sum += lost.item.item() * taken.weight
        action_sum += lost.action.item() * taken.weight
        value_sum += lost.value.item() * taken.weight
        events += round(batch.tokens * taken.weight)
        last = place == taken.own - 1
        norm = 0.0
        if last:
            norm = team.clip(run.module, config.clip)
        if fault is None and not (math.isfinite(loss.item()) and math.isfinite(norm)):
            fault = TrainingError(
                f"{phase.name}: the loss is {lost.total.item():.4g} (next item "
                f"{lost.item.item():.4g}, next action {lost.action.item():.4g}), or the gradient "
                f"is not finite, at step {at.step + 1}, epoch {at.epoch + 1}, batch "
                f"{at.batch + place + 1} of {len(plan)} (fingerprint {_fingerprint(on_cpu)}, "
                f"{batch.tokens} events)",
                f"lower training.learning_rate (it is {config.learning_rate:g}) or training.clip "
                "and run again; with other settings, training starts anew",
            )
    # Who shares a step takes it together or not at all: what isn't finite here is seen by all.
    item_sum, action_sum, value_sum, told, flops, faults = team.summed(
        [item_sum, action_sum, value_sum, events, flops, float(fault is not None)]
    )
    if faults:
        return fault or TrainingError(
            f"{phase.name}: the loss of another process is not finite, at step {at.step + 1}"
        )
    run.optimizer.step()
    if phase.anchor is not None:
        phase.anchor.pull(run.module, rate)
    run.average(config.ema)
    run.position = replace(
        at,
        batch=at.batch + taken.of,
        step=at.step + 1,
        item_sum=at.item_sum + item_sum,
        action_sum=at.action_sum + action_sum,
        value_sum=at.value_sum + value_sum,
        seconds=at.seconds + time.perf_counter() - started,
        events=at.events + round(told),
        flops=at.flops + flops,
    )
    return None


def _end_epoch(
    run: Run,
    phase: Phase,
    config: TrainingConfig,
    scorer: Callable[[UnifiedTransformer, Catalogue], Scorer],
    catalogue: Catalogue,
    machine: Machine,
) -> None:
    """Validate, and remember the latest epoch that is as good as the best."""
    at = run.position
    judged = None
    valued = run.module.action.values is not None and config.value_weight > 0
    answers = run.kept() if phase.validation else {}
    if phase.validation:
        learning = run.weights()
        run.answer_with(answers)
        judged = phase.validation.judge(scorer(run.module, catalogue))
        run.answer_with(learning)
    run.curve.append(
        Epoch(
            phase.name,
            at.epoch + 1,
            at.item_sum / at.batch,
            at.action_sum / at.batch,
            judged.ndcg if judged else None,
            run.optimizer.param_groups[0]["lr"],
            at.seconds,
            at.events,
            at.flops,
            machine.utilisation(at.flops, at.seconds),
            most_memory(machine.device),
            at.value_sum / at.batch if valued else None,
            judged.auc if judged else None,
            judged.rmse if judged else None,
            judged.value if judged else None,
            at.step,
            round(time.time() * 1000),
        )
    )
    following = Position(
        at.epoch + 1,
        0,
        at.step,
        best=at.best,
        best_epoch=at.best_epoch,
        halvings=at.halvings,
    )
    if judged is not None:
        first = at.best_epoch == 0
        # An error, told as its negative, is as good if it is not larger by more than the share.
        least = at.best * (1 - config.tie if at.best >= 0 else 1 + config.tie)
        if first or judged.value >= least:
            best = judged.value if first else max(at.best, judged.value)
            following = replace(following, best=best, best_epoch=at.epoch + 1)
            run.best = answers
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


def _fingerprint(batch: Batch) -> str:
    digest = hashlib.sha256()
    histories = batch.histories
    for tensor in (histories.items, histories.actions, histories.times, batch.targets.item):
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()[:12]
