"""The figures of trainings in an MLflow store, for those who keep one: told as epochs end.

A store that is away costs the training nothing but a few seconds: that is said once, and what is
missing is told when the training has ended. The run's own folder holds the figures in any case.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from recommender.config import Config
from recommender.errors import StorageError
from recommender.training.state import Epoch
from recommender.training.trained import Trained

logger = logging.getLogger("ostinato.tracking")

_VARIABLES = {
    # MLflow refuses file stores without it, since it would rather have a database.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # It would try for minutes, while the training waits.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class Tracker:
    """Tells the store that the configuration names, if it names one.

    A run of MLflow per fold and phase, under one experiment; a training that was killed goes on in
    the same ones. What is told of the settings are the sections `model` and `training`, and
    `refresh` of a refresh, which hold no secrets.

    Args:
        config: the whole tree; `tracking` says where.
        run_id: of the pipeline.

    Raises:
        StorageError: a store is named, and MLflow is not installed.
    """

    def __init__(self, config: Config, run_id: str) -> None:
        self._config, self._run_id = config, run_id
        self._told: dict[tuple[int, str], tuple[str, set[int]]] = {}
        self._client: Any = None
        self._experiment = ""
        self._away = False
        if config.tracking.mlflow is None:
            return
        try:
            import mlflow.tracking  # noqa: F401 told before the training, not behind it
        except ImportError as error:
            raise StorageError(
                "tracking.mlflow is set, and MLflow is not installed here",
                "install the extra `mlflow`, or leave tracking.mlflow out",
            ) from error

    def of(self, fold: int) -> Callable[[Epoch], None]:
        """Return what tells an epoch of a fold as soon as it has ended."""

        def tell(epoch: Epoch) -> None:
            if not self._away:
                self._try(lambda: self._tell(fold, epoch), "until the training has ended")

        return tell

    def finish(self, trained: Sequence[Trained]) -> None:
        """Tell what has not been told yet of every fold, and that it has ended."""

        def tell() -> None:
            for fold, one in enumerate(trained):
                for epoch in one.curve:
                    self._tell(fold, epoch)
                for phase in dict.fromkeys(epoch.phase for epoch in one.curve):
                    run, _ = self._told[fold, phase]
                    self._client.set_tag(run, "fingerprint", one.fingerprint)
                    self._client.set_terminated(run)

        self._try(tell, "and is told no more of this training")

    def _try(self, tell: Callable[[], None], then: str) -> None:
        store = self._config.tracking.mlflow
        if store is None:
            return
        from mlflow.exceptions import MlflowException

        try:
            with _variables():
                tell()
        except (MlflowException, OSError) as error:
            self._away = True
            logger.warning(
                "the MLflow store %s can't be written, %s: %s; the figures lie in the run's folder",
                store,
                then,
                error,
            )

    def _tell(self, fold: int, epoch: Epoch) -> None:
        from mlflow.entities import Metric

        run, told = self._run(fold, epoch.phase)
        if epoch.epoch in told:
            return
        metrics = [Metric(name, value, epoch.ended, epoch.step) for name, value in _metrics(epoch)]
        self._client.log_batch(run, metrics=metrics)
        told.add(epoch.epoch)

    def _run(self, fold: int, phase: str) -> tuple[str, set[int]]:
        """Return the run of a fold and phase, and the epochs that it holds."""
        if (fold, phase) in self._told:
            return self._told[fold, phase]
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        if self._client is None:
            client = MlflowClient(tracking_uri=self._config.tracking.mlflow)
            name = self._config.tracking.experiment or self._config.name
            known = client.get_experiment_by_name(name)
            self._experiment = known.experiment_id if known else client.create_experiment(name)
            self._client = client
        tags = {"run": self._run_id, "fold": str(fold), "phase": phase}
        wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
        if found := self._client.search_runs([self._experiment], wanted):
            run = found[0].info.run_id
            history = self._client.get_metric_history(run, "epoch")
            told = {int(metric.value) for metric in history}
        else:
            title = f"{self._run_id} fold {fold} {phase}"
            run, told = self._client.create_run(self._experiment, run_name=title).info.run_id, set()
            self._client.log_batch(
                run,
                params=[Param(key, value[:500]) for key, value in self._settings(phase)],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
        self._told[fold, phase] = run, told
        return run, told

    def _settings(self, phase: str) -> Iterator[tuple[str, str]]:
        for section in ("model", "training", *(["refresh"] if phase == "refresh" else [])):
            for key, value in getattr(self._config, section).model_dump(mode="json").items():
                yield f"{section}.{key}", json.dumps(value)


def _metrics(epoch: Epoch) -> Iterator[tuple[str, float]]:
    """Yield name and value."""
    told = {
        "epoch": epoch.epoch,
        "loss_item": epoch.item_loss,
        "loss_action": epoch.action_loss,
        "loss_value": epoch.value_loss,
        "learning_rate": epoch.learning_rate,
        "ndcg_10": epoch.ndcg,
        "auc": epoch.auc,
        "rmse": epoch.rmse,
        "events_per_second": epoch.events / epoch.seconds if epoch.seconds > 0 else None,
        "mfu": epoch.utilisation,
        "memory_mb": epoch.memory_mb,
    }
    for name, value in told.items():
        if value is not None:
            yield name, float(value)


@contextmanager
def _variables() -> Iterator[None]:
    """Let MLflow write to a folder, and give up soon, while inside; what is set is left."""
    mine = {name: value for name, value in _VARIABLES.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
