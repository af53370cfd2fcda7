"""One training from data set and fold to model: search for the number of epochs, then refit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recommender.artifact import Model, service_of
from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.split import Fold
from recommender.training.checkpoint import Checkpoints
from recommender.training.cpu import keep_memory
from recommender.training.device import deterministic, precision
from recommender.training.ground import Ground, Here, Start, checkpoints_of
from recommender.training.loop import fit
from recommender.training.state import Epoch, Phase
from recommender.training.trained import Trained
from recommender.training.validation import Judge


def train(
    dataset: Dataset,
    fold: Fold,
    config: Config,
    label: str = "train",
    on_step: Callable[[int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train the Transformer for one fold.

    The same data, configuration and seed give the same weights to the byte, also if the process
    was killed in between: call it again, and it goes on from the last checkpoint in
    `config.paths.checkpoints`. The checkpoints stay until `forget`.

    Args:
        dataset: log, catalogue, text vectors.
        fold: nothing at or after `test_start` is read; the weights of the search read nothing at
            or after `validation_start`.
        config: the whole tree.
        label: for the progress display.
        on_step: called with the number of every finished step of a phase.
        on_epoch: called with every finished epoch; what it raises ends training.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    return train_on(Here(dataset, fold, config), fold, config, label, on_step, on_epoch)


def train_on(
    ground: Ground,
    fold: Fold,
    config: Config,
    label: str = "train",
    on_step: Callable[[int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train the Transformer for one fold, alone or in a group; else as `train`.

    Args:
        ground: the data, and who computes.
        fold: as for `train`.
        config: the whole tree.
        label: for the progress display.
        on_step: called with the number of every finished step of a phase.
        on_epoch: called with every finished epoch; what it raises ends training.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    keep_memory()
    settings = config.training
    exactly = deterministic(settings.threads, exact=settings.deterministic)
    with exactly, precision(settings.precision):
        return _train(ground, fold, config, label, on_step, on_epoch)


def forget(dataset: Dataset, fold: Fold, config: Config) -> None:
    """Remove the checkpoints of a training whose model is safe elsewhere."""
    checkpoints_of(dataset, fold, config).clear()


def train_once(
    dataset: Dataset,
    validation: Judge | None,
    config: Config,
    label: str,
    on_step: Callable[[int], None] | None = None,
) -> Trained:
    """Train on the whole log of a data set, without looking for a number of epochs.

    Args:
        dataset: log, catalogue, text vectors.
        validation: asked after each epoch, the best of which is kept; None: the last is.
        config: the whole tree.
        label: for the progress display.
        on_step: called with the number of every finished step.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    end = int(dataset.log.times.max(initial=0)) + 1
    whole = Fold(0, end, end)
    checkpoints = checkpoints_of(dataset, whole, config)
    keep_memory()
    settings = config.training
    exactly = deterministic(settings.threads, exact=settings.deterministic)
    with exactly, precision(settings.precision):
        start = Here(dataset, whole, config).start(end)
        phase = Phase("search", start.examples, validation, config.training.epochs, config.seed)
        best_epoch, curve = fit(
            phase,
            start.module,
            dataset.catalogue,
            config.training,
            checkpoints,
            label,
            on_step,
            feed=start.feed,
            objective=start.objective,
        )
    return _trained(
        start.module,
        dataset,
        config,
        curve,
        best_epoch,
        validation.users if validation else 0,
        checkpoints,
    )


def _train(
    ground: Ground,
    fold: Fold,
    config: Config,
    label: str,
    on_step: Callable[[int], None] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> Trained:
    checkpoints, catalogue = ground.checkpoints, ground.dataset.catalogue
    validation = ground.validation()
    settings = config.training

    def go(phase: Phase, start: Start) -> tuple[int, list[Epoch]]:
        return fit(
            phase,
            start.module,
            catalogue,
            settings,
            checkpoints,
            f"{label}: {phase.name}",
            on_step,
            on_epoch,
            start.feed,
            ground.team,
            start.objective,
        )

    found = checkpoints.latest()
    module = None
    if found is not None and found.values["phase"] == "refit":
        curve = [Epoch(**row) for row in found.values["curve"] if row["phase"] == "search"]
        best_epoch = int(found.values["epochs"])
    else:
        start = ground.start(fold.validation_start)
        phase = Phase("search", start.examples, validation, settings.epochs, config.seed)
        best_epoch, curve = go(phase, start)
        module = start.module
    if settings.refit or module is None:
        start = ground.start(fold.test_start)
        phase = Phase("refit", start.examples, None, best_epoch, config.seed, tuple(curve))
        _, curve = go(phase, start)
        module = start.module
    return _trained(
        module, ground.dataset, config, curve, best_epoch, validation.users, checkpoints
    )


def _trained(
    module: UnifiedTransformer,
    dataset: Dataset,
    config: Config,
    curve: Sequence[Epoch],
    best_epoch: int,
    users: int,
    checkpoints: Checkpoints,
) -> Trained:
    scorer = TransformerScorer(module, dataset.catalogue)
    return Trained(
        Model(scorer, dataset.titles, config.actions, config.model.history, service_of(scorer)),
        tuple(curve),
        best_epoch,
        users,
        sum(parameter.numel() for parameter in module.parameters()),
        checkpoints.fingerprint,
        config.training.keep_by,
    )
