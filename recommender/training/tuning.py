"""A study of settings: many trainings, the better for the later ones what the earlier ones showed.

The study lies in a file or a database that all workers write to; it is of one problem (data, cut,
other settings, code), and another problem is another study. A worker that was killed
goes on: its open trial is begun again with the same settings, and takes up its own checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from recommender.config import Config
from recommender.errors import ConfigError, TrainingError, UserError
from recommender.features.dataset import Dataset
from recommender.training.identity import fingerprint
from recommender.training.run import forget, train
from recommender.training.state import Epoch
from recommender.training.study_findings import Findings, Told
from recommender.training.study_space import configured_value, holds, suggested, with_tried

_WORKER, _AGAIN, _WHY, _CONFIGURED = "worker", "again_of", "why", "configured"


class Tuning:
    """One study.

    Args:
        dataset: whose last fold is searched on.
        config: the whole tree; `tuning` says what is tried.

    Raises:
        ConfigError: a key of the space is unknown, or the database is not named.
    """

    def __init__(self, dataset: Dataset, config: Config) -> None:
        self.dataset = dataset
        # What a study tells is the search phase alone: nothing of the test window is read.
        self.config = with_tried(config, {"training.refit": False})
        self.fold = dataset.folds[-1]
        self.name = f"tuning-{self._problem()}"
        for key in config.tuning.space:
            configured_value(config, key)

    def run(self, worker: int, on_step: Callable[[int], None] | None = None) -> None:
        """Try settings until the study has as many trials as are wanted.

        Args:
            worker: which one this is; no two that are at work may have the same number.
            on_step: called with the number of every finished step of training.
        """
        import optuna

        study = self._study(worker)
        self._take_up(study, worker)
        if worker == 0:
            settings, marked = self._configured()
            study.enqueue_trial(settings, user_attrs=marked, skip_if_exists=True)
        while True:
            trial = study.ask()
            trial.set_user_attr(_WORKER, worker)
            turn = self._turn(study, trial.number)
            if turn >= self.config.tuning.trials:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return
            study.sampler = self._sampler(worker, turn)
            self._try(study, trial, on_step)

    def findings(self) -> Findings:
        """Return what the study has found so far."""
        import optuna

        failed = optuna.trial.TrialState.FAIL
        return Findings(
            self.name,
            tuple(
                Told(
                    each.number,
                    each.state.name.lower(),
                    each.value if each.state.name == "COMPLETE" else None,
                    dict(each.params),
                    len(each.intermediate_values),
                    bool(each.user_attrs.get(_CONFIGURED)),
                    each.user_attrs.get(_WHY),
                )
                for each in self._study(0).get_trials(deepcopy=False)
                if each.state != failed
            ),
        )

    def settings_of(self, told: Told) -> Config:
        """Return the configuration with the settings of a trial."""
        return with_tried(self.config, told.settings | {"training.refit": True})

    def _try(self, study: Any, trial: Any, on_step: Callable[[int], None] | None) -> None:
        """Train with settings that the trial suggests, and tell how it went."""
        import optuna

        settings = {
            key: suggested(trial, key, each) for key, each in self.config.tuning.space.items()
        }
        try:
            config = with_tried(self.config, settings)
        except ConfigError as error:
            _refused(study, trial, error)
            return

        def report(epoch: Epoch) -> None:
            if epoch.quality is None:
                return
            trial.report(epoch.quality, epoch.epoch)
            if self.config.tuning.prune and trial.should_prune():
                raise optuna.TrialPruned

        try:
            trained = train(
                self.dataset, self.fold, config, f"trial {trial.number}", on_step, report
            )
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except (TrainingError, ConfigError) as error:
            _refused(study, trial, error)
        else:
            study.tell(trial, trained.validation_quality or 0.0)
        forget(self.dataset, self.fold, config)

    def _take_up(self, study: Any, worker: int) -> None:
        """Begin again, with the same settings, what this worker had begun when it was killed."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        for each in study.get_trials(deepcopy=False, states=(running,)):
            if each.user_attrs.get(_WORKER) == worker:
                study.tell(each.number, state=optuna.trial.TrialState.FAIL)
                # A trial may have been killed before it had asked for all of its settings.
                first = bool(each.user_attrs.get(_CONFIGURED))
                settings, marked = self._configured() if first else (each.params, {})
                study.enqueue_trial(settings, user_attrs=marked | {_AGAIN: each.number})

    def _configured(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what is configured of the space, as far as that holds it, and the trial's marks.

        The rest is chosen as in any trial, which then is not the configured one.
        """
        space = self.config.tuning.space
        values = {key: configured_value(self.config, key) for key in space}
        held = {key: value for key, value in values.items() if holds(space[key], value)}
        return held, {_CONFIGURED: True} if len(held) == len(space) else {}

    def _turn(self, study: Any, number: int) -> int:
        """Return how many trials that count were begun before this one."""
        trials = study.get_trials(deepcopy=False)
        return sum(each.number < number and each.state.name != "FAIL" for each in trials)

    def _study(self, worker: int) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = self.config.tuning
        return optuna.create_study(
            study_name=self.name,
            storage=self._storage(),
            load_if_exists=True,
            direction="maximize",
            sampler=self._sampler(worker, 0),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=settings.before_pruning, n_warmup_steps=settings.patience
            ),
        )

    def _sampler(self, worker: int, turn: int) -> Any:
        """Return what draws the settings of one trial.

        A study's storage keeps no state of chance. One generator per worker would start anew with
        it, and draw again what it drew before; seeded by the trial's turn, a study of one worker is
        the same, however often it was interrupted or made longer.
        """
        import numpy as np
        import optuna

        chance = np.random.SeedSequence((self.config.seed, worker, turn))
        return optuna.samplers.TPESampler(
            seed=int(chance.generate_state(1)[0]), constant_liar=self.config.tuning.workers > 1
        )

    def _storage(self) -> Any:
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend

        settings, folder = self.config.tuning, self.config.paths.tuning
        if settings.storage == "url":
            url = os.environ.get(settings.storage_variable)
            if not url:
                raise ConfigError(
                    f"tuning.storage is url, but {settings.storage_variable} is not set",
                    "put the database's URL into it",
                )
            return RDBStorage(url)
        folder.mkdir(parents=True, exist_ok=True)
        if settings.storage == "sqlite":
            # Workers wait for each other's writes, instead of failing.
            return RDBStorage(
                f"sqlite:///{folder / self.name}.db",
                engine_kwargs={"connect_args": {"timeout": 60}},
            )
        return JournalStorage(JournalFileBackend(str(folder / f"{self.name}.journal")))

    def _problem(self) -> str:
        """Return a hash of everything but how much is tried, and by whom."""
        spread = {"trials", "workers", "storage", "storage_variable"}
        space = self.config.tuning.model_dump(mode="json", exclude=spread)
        told = fingerprint(self.dataset, self.fold, self.config) + json.dumps(space, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def _refused(study: Any, trial: Any, error: UserError) -> None:
    """Tell that settings are no good: that training diverges, or refuses them, is an answer."""
    import optuna

    trial.set_user_attr(_WHY, error.message)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
