"""The figures of trainings in an MLflow store, for those who keep one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from recommender.config import Config
from recommender.errors import StorageError
from recommender.training.curves import validated
from recommender.training.trained import Trained

# MLflow refuses file stores without it, since it would rather have a database.
_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"


def track(config: Config, run_id: str, trained: Sequence[Trained]) -> None:
    """Write settings and curves to the MLflow store that the configuration names, if it does.

    A run of MLflow per fold and phase, under one experiment. What is told of the settings are the
    sections `model` and `training`, and `refresh` of a refresh, which hold no secrets.

    Args:
        config: the whole tree; `tracking` says where.
        run_id: of the pipeline.
        trained: of every fold.

    Raises:
        StorageError: the store can't be reached or written, or MLflow is not installed.
    """
    store = config.tracking.mlflow
    if store is None:
        return
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise StorageError(
            "tracking.mlflow is set, and MLflow is not installed here",
            "install the extra `mlflow`, or leave tracking.mlflow out",
        ) from error

    refreshed = any(epoch.phase == "refresh" for one in trained for epoch in one.curve)
    settings = {
        f"{section}.{key}": json.dumps(value)
        for section in ("model", "training", *(["refresh"] if refreshed else []))
        for key, value in getattr(config, section).model_dump(mode="json").items()
    }
    try:
        with _file_stores():
            client = MlflowClient(tracking_uri=store)
            name = config.tracking.experiment or config.name
            known = client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else client.create_experiment(name)
            for fold, one in enumerate(trained):
                tags = [RunTag("run", run_id), RunTag("fingerprint", one.fingerprint)]
                for phase in dict.fromkeys(epoch.phase for epoch in one.curve):
                    run = client.create_run(experiment, run_name=f"{run_id} fold {fold} {phase}")
                    client.log_batch(
                        run.info.run_id,
                        metrics=[Metric(*each) for each in _metrics(one, phase)],
                        params=[Param(key, value[:500]) for key, value in settings.items()],
                        tags=[*tags, RunTag("phase", phase), RunTag("fold", str(fold))],
                    )
                    client.set_terminated(run.info.run_id)
    except (MlflowException, OSError) as error:
        raise StorageError(
            f"the MLflow store {store} can't be written: {error}",
            "check tracking.mlflow; without it, training writes its figures to the run's folder",
        ) from error


def _metrics(trained: Trained, phase: str) -> Iterator[tuple[str, float, int, int]]:
    """Yield name, value, moment (0: the store takes none of ours) and epoch."""
    for epoch in trained.curve:
        if epoch.phase != phase:
            continue
        told = {
            "loss_item": epoch.item_loss,
            "loss_action": epoch.action_loss,
            "loss_value": epoch.value_loss,
            "learning_rate": epoch.learning_rate,
            "events_per_second": epoch.events / epoch.seconds if epoch.seconds > 0 else None,
            "mfu": epoch.utilisation,
            "memory_mb": epoch.memory_mb,
        }
        # MLflow allows no @ in names.
        judged = validated(epoch, trained.kept_by).items()
        told |= {name.replace("@", "_"): value for name, value in judged}
        for name, value in told.items():
            if value is not None:
                yield name, float(value), 0, epoch.epoch


@contextmanager
def _file_stores() -> Iterator[None]:
    """Let MLflow write to a folder while inside."""
    before = os.environ.get(_FILE_STORE)
    os.environ[_FILE_STORE] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FILE_STORE]
        else:
            os.environ[_FILE_STORE] = before
