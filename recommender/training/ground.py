"""What a training stands on: its data, who computes, where each of its phases begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.model.people import PeopleCodes
from recommender.model.transformer import UnifiedTransformer
from recommender.split import Fold
from recommender.training.case_judges import judge_of
from recommender.training.checkpoint import Checkpoints
from recommender.training.examples import Examples
from recommender.training.feed import Feed
from recommender.training.fresh_module import fresh_module
from recommender.training.identity import fingerprint
from recommender.training.log_read import examples_before, log_read, people_before
from recommender.training.objective import Objective
from recommender.training.pretraining import objective_of, pretrain
from recommender.training.team import Alone, Team
from recommender.training.validation import Judge


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


class Here:
    """All data, one process; a `Ground`.

    Args:
        dataset: log, catalogue, text vectors.
        fold: the cuts of time.
        config: the whole tree.
    """

    def __init__(self, dataset: Dataset, fold: Fold, config: Config) -> None:
        self.dataset = dataset
        self.team = Alone()
        self.checkpoints = checkpoints_of(dataset, fold, config)
        self._fold = fold
        self._config = config

    def validation(self) -> Judge:
        """Return what is asked after each epoch; errors as for `judge_of`."""
        return judge_of(self.dataset, self._fold, self._config)

    def start(self, cut: int) -> Start:
        """Return where a phase begins that learns from what lies before `cut`, ms.

        Raises:
            TrainingError: too little data.
            ConfigError: the model is to read what the data set does not hold.
        """
        dataset, config, people = self.dataset, self._config, None
        log = log_read(dataset, config)
        if config.model.user_attributes:
            people = PeopleCodes.learned(people_before(log, cut), config.model.user_attributes)
        examples = examples_before(dataset, cut, config, people)
        module = fresh_module(dataset, examples, config, people)
        if config.self_supervision.pretraining_epochs:
            pretrain(module, examples, dataset.catalogue, config, self.checkpoints, cut)
        return Start(examples, module, objective=objective_of(examples, config))


def checkpoints_of(dataset: Dataset, fold: Fold, config: Config) -> Checkpoints:
    """Return the checkpoints of one process's training of a fold."""
    name = fingerprint(dataset, fold, config)
    return Checkpoints(config.paths.checkpoints / name, name)
