"""One training from data set and fold to model: search for the number of epochs, then refit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from recommender.artifact import Model, service_of
from recommender.config import Config
from recommender.errors import ConfigError
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.sequences import EventLog, Ints
from recommender.model.id_buckets import id_buckets
from recommender.model.people import PeopleCodes
from recommender.model.reads import Reads, item_columns
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.split import Fold
from recommender.training.checkpoint import Checkpoints
from recommender.training.cpu import keep_memory
from recommender.training.demand import log_demand
from recommender.training.device import deterministic, precision
from recommender.training.examples import Examples
from recommender.training.feed import Feed
from recommender.training.identity import fingerprint
from recommender.training.loop import fit
from recommender.training.objective import Objective
from recommender.training.pretraining import objective_of, pretrain
from recommender.training.state import Epoch, Phase
from recommender.training.team import Alone, Team
from recommender.training.transfer import Source
from recommender.training.validation import Judge, Validation


@dataclass(frozen=True)
class Trained:
    """A trained model and how it got there.

    Attributes:
        model: ready to be saved.
        curve: one row per epoch of both phases.
        best_epoch: of the search; the refit ran for as many.
        validation_users: how many users stand behind the validation figures.
        parameters: trainable numbers.
        fingerprint: of data, settings, seed and code.
    """

    model: Model
    curve: tuple[Epoch, ...]
    best_epoch: int
    validation_users: int
    parameters: int
    fingerprint: str

    @property
    def validation_ndcg(self) -> float | None:
        """NDCG@10 of the best epoch of the search; None where nobody could be asked."""
        return self.curve[self.best_epoch - 1].ndcg

    @property
    def seconds(self) -> float:
        """Time spent in steps, of all phases, interrupted ones included."""
        return sum(epoch.seconds for epoch in self.curve)


@dataclass(frozen=True)
class Start:
    """Where a phase begins.

    Attributes:
        examples: what is learned from; in a group, some of what this process has.
        module: fresh.
        feed: the batches; None: all of `examples`.
        objective: the losses; None: those of `examples`.
    """

    examples: Examples
    module: UnifiedTransformer
    feed: Feed | None = None
    objective: Objective | None = None


class Ground(Protocol):
    """The data of a training, and who computes."""

    @property
    def dataset(self) -> Dataset:
        """Catalogue and text; in a group, the log of some of the people only."""

    @property
    def team(self) -> Team:
        """The processes."""

    @property
    def checkpoints(self) -> Checkpoints:
        """Of this training."""

    def validation(self) -> Judge:
        """Return what is asked after each epoch."""

    def start(self, cut: int) -> Start:
        """Return where a phase begins that learns from what lies before `cut`, ms."""


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
    return train_on(_Here(dataset, fold, config), fold, config, label, on_step, on_epoch)


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
    _checkpoints(dataset, fold, config).clear()


def train_once(
    dataset: Dataset,
    validation: Validation | None,
    config: Config,
    label: str,
    on_step: Callable[[int], None] | None = None,
) -> Trained:
    """Train on the whole log of a data set, without looking for a number of epochs.

    Args:
        dataset: log, catalogue, text vectors.
        validation: requests after each epoch, the best of which is kept; None: the last is.
        config: the whole tree.
        label: for the progress display.
        on_step: called with the number of every finished step.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    end = int(dataset.log.times.max(initial=0)) + 1
    whole = Fold(0, end, end)
    checkpoints = _checkpoints(dataset, whole, config)
    keep_memory()
    settings = config.training
    exactly = deterministic(settings.threads, exact=settings.deterministic)
    with exactly, precision(settings.precision):
        start = _Here(dataset, whole, config).start(end)
        phase = Phase("search", start.examples, validation, config.training.epochs, config.seed)
        best_epoch, curve = fit(
            phase, start.module, dataset.catalogue, config.training, checkpoints, label, on_step
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
    )


def examples_of(
    dataset: Dataset, cut: int, config: Config, people: PeopleCodes | None = None
) -> Examples:
    """Return the examples before a cut, all but what demand says of items.

    Args:
        dataset: whose log, and whose people.
        cut: nothing at or after this moment (ms) is read.
        config: the whole tree.
        people: what is read of whoever it is.

    Raises:
        TrainingError: too little data.
        ConfigError: the model is to read what the data set does not hold.
    """
    return _examples(log_read(dataset, config), dataset, cut, config, people, None)


def examples_before(
    dataset: Dataset, cut: int, config: Config, people: PeopleCodes | None = None
) -> Examples:
    """Return the examples before a cut with all that they tell of items; as `examples_of`."""
    log = log_read(dataset, config)
    demand = partial(log_demand, log, dataset.items, config) if config.model.demand else None
    return _examples(log, dataset, cut, config, people, demand)


def _examples(
    log: EventLog,
    dataset: Dataset,
    cut: int,
    config: Config,
    people: PeopleCodes | None,
    demand: Callable[[Ints], NDArray[np.float32]] | None,
) -> Examples:
    return Examples.build(
        log,
        cut,
        len(dataset.catalogue),
        config.actions,
        config.model.history,
        config.training.other_weight,
        slices=config.training.popularity_slices,
        latest_window=config.training.windows == "latest",
        people=people,
        demand=demand,
        values=config.model.ranking.values,
    )


def fresh_module(
    dataset: Dataset, examples: Examples, config: Config, people: PeopleCodes | None = None
) -> UnifiedTransformer:
    """Return a module for these examples that has learned nothing of them.

    The seed decides its weights, but for those of a model that it is to start from.

    Args:
        dataset: whose items.
        examples: what is known of them.
        config: the whole tree.
        people: what is read of whoever it is.
    """
    model, source = config.model, None
    if config.transfer.model:
        source = Source.read(config, dataset.encoder)
    read_IV, attributes, vectors = item_columns(
        dataset.items, dataset.text, examples.known, model, source.columns if source else None
    )
    surfaces = len(config.actions.surfaces) if model.surface else 0
    buckets = id_buckets(dataset.catalogue.ids, model.id_buckets) if model.id_buckets else None
    torch.manual_seed(config.seed)
    module = UnifiedTransformer(
        model,
        len(config.actions.types),
        torch.from_numpy(read_IV),
        torch.from_numpy(examples.known),
        torch.from_numpy(examples.latest),
        repeats=model.repeats and not config.actions.exclude_seen,
        reads=Reads(surfaces, people or PeopleCodes(), attributes, vectors),
        buckets_I2=None if buckets is None else torch.from_numpy(buckets),
    )
    if source is not None:
        source.into(module, config.actions)
    if module.action.values is not None:
        module.action.values.measure(config.actions.types, torch.from_numpy(examples.value))
    return module


class _Here:
    """All data, one process."""

    def __init__(self, dataset: Dataset, fold: Fold, config: Config) -> None:
        self.dataset = dataset
        self.team = Alone()
        self.checkpoints = _checkpoints(dataset, fold, config)
        self._fold = fold
        self._config = config

    def validation(self) -> Validation:
        config = self._config
        return Validation.build(
            log_read(self.dataset, config),
            self._fold.validation_start,
            self._fold.test_start,
            len(self.dataset.catalogue),
            config.actions,
            config.features.history_limit,
            config.evaluation.requests_per_user,
            config.training.validation_users,
        )

    def start(self, cut: int) -> Start:
        dataset, config, people = self.dataset, self._config, None
        log = log_read(dataset, config)
        if config.model.user_attributes:
            people = PeopleCodes.learned(people_before(log, cut), config.model.user_attributes)
        examples = examples_before(dataset, cut, config, people)
        module = fresh_module(dataset, examples, config, people)
        if config.self_supervision.pretraining_epochs:
            pretrain(module, examples, dataset.catalogue, config, self.checkpoints, cut)
        return Start(examples, module, objective=objective_of(examples, config))


def log_read(dataset: Dataset, config: Config) -> EventLog:
    """Return the log with what the model reads of people and surfaces, and no more of them.

    Raises:
        ConfigError: the model is to read what the data set does not hold.
    """
    log, wanted = dataset.log, config.model.user_attributes
    if config.model.surface and log.surfaces is None:
        raise ConfigError(
            "model.surface is true, but the data set tells no surfaces apart",
            "name them in actions.surfaces, and run from materialize again",
        )
    if not config.model.surface:
        log = replace(log, surfaces=None)
    if not wanted:
        return log
    held = () if dataset.attributes is None else dataset.attributes.column_names
    if missing := sorted(set(wanted) - set(held)):
        raise ConfigError(
            f"model.user_attributes names {', '.join(missing)}, which the data set lacks",
            "map them in source.users.attributes, and run from materialize again",
        )
    return with_people(log, dataset.attributes)


def people_before(log: EventLog, cut: int) -> list[Mapping[str, str] | None]:
    """Return what is known of everybody who did something before a cut (ms)."""
    active_U = np.zeros(len(log.users), bool)
    active_U[log.user_of_event[log.times < cut]] = True
    people = log.people or (None,) * len(log.users)
    return [person for person, active in zip(people, active_U, strict=True) if active]


def _checkpoints(dataset: Dataset, fold: Fold, config: Config) -> Checkpoints:
    name = fingerprint(dataset, fold, config)
    return Checkpoints(config.paths.checkpoints / name, name)
