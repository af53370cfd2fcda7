"""A data set in, trained models out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.boundary import Step, running
from components.training import export, must_be_of_today
from recommender.baselines.cold_users import fit_cold_users
from recommender.config.training import MEASURES
from recommender.ensemble import fused
from recommender.features.dataset import Dataset
from recommender.training import curves
from recommender.training.run import forget, train
from recommender.training.state import Epoch
from recommender.training.tracking import Tracker
from recommender.training.trained import Trained
from recommender.training.transfer import identity


def run(config: str, run_id: str, dataset: str, model: str) -> None:
    """Train one model per fold.

    A run that was killed goes on from its checkpoints when the step is started again; they are
    removed when all models are written.

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
        dataset: folder of a `recommender.features.dataset.Dataset`.
        model: the folder that gets `candidate`, `folds/<i>` and `training.json`.

    Raises:
        SystemExit: too little data, a loss that is not finite, an unreadable data set, or one that
            is older than `features.freshness` allows.
    """
    with running("train", config, run_id) as step:
        must_be_of_today(Path(dataset), step.config)
        data = Dataset.read(Path(dataset))
        folder = Path(model)
        trained, tracker = [], Tracker(step.config, run_id)
        for place, fold in enumerate(data.folds):
            label = "train" if len(data.folds) == 1 else f"train {place + 1}/{len(data.folds)}"
            cold = fit_cold_users(data, fold, step.config)
            one = _train(step, Path(dataset), place, data, label, tracker.of(place))
            model_of_fold = fused(one.model, data, fold, step.config)
            one = replace(one, model=replace(model_of_fold, cold=cold))
            last = place == len(data.folds) - 1
            saved = folder / "candidate" if last else folder / "folds" / str(place)
            one.model.save(saved)
            if last and step.config.serving.compute.export:
                export(one.model, saved)
            trained.append(one)
        begun = {"transfer": {"from": version}} if (version := identity(step.config)) else {}
        curves.write_record(folder / "training.json", trained, **begun)
        curves.draw(step.folder / "curves.png", trained)
        curves.write_events(step.folder / "tensorboard", trained)
        tracker.finish(trained)
        _summarise(step, trained, len(data.catalogue))
        _forget(step, Path(dataset), data)


def _train(
    step: Step,
    dataset: Path,
    place: int,
    data: Dataset,
    label: str,
    on_epoch: Callable[[Epoch], None],
) -> Trained:
    """Train one fold: here, or by the processes that the configuration asks for."""
    config = step.config
    match config.distributed.launcher:
        case "torchrun":
            from recommender.training.distributed.launch import train_in_processes

            return train_in_processes(dataset, place, config, step.folder / "ranks" / str(place))
        case "trainjob":
            from components.train.trainjob.launch import train_by_job

            return train_by_job(dataset, place, config, step.folder / "ranks" / str(place))
        case _:
            return train(data, data.folds[place], config, label, on_epoch=on_epoch)


def _forget(step: Step, dataset: Path, data: Dataset) -> None:
    """Remove what trainings keep to be gone on with: their models are safe."""
    config = step.config
    for fold in data.folds:
        match config.distributed.launcher:
            case "torchrun":
                from recommender.training.distributed.launch import forget_processes

                forget_processes(dataset, fold, config)
            case "trainjob":
                from components.train.trainjob.launch import forget_job

                forget_job(dataset, fold, config)
            case _:
                forget(data, fold, config)
    shutil.rmtree(step.folder / "ranks", ignore_errors=True)


def _summarise(step: Step, trained: list[Trained], items: int) -> None:
    candidate = trained[-1]
    seconds = sum(one.seconds for one in trained)
    events = sum(epoch.events for one in trained for epoch in one.curve)
    step.summary |= {
        "models": len(trained),
        "items": items,
        "parameters": candidate.parameters,
        "best_epoch": candidate.best_epoch,
        **_validated(candidate),
        "validation_users": candidate.validation_users,
        "events_per_second": round(events / seconds) if seconds else None,
        "curves": str(step.folder / "curves.png"),
    }


def _validated(candidate: Trained) -> dict[str, float | None]:
    """Return what the best epoch was worth; nothing is known of one without anybody to ask."""
    found = curves.validated(candidate.best, candidate.kept_by)
    told: dict[str, float | None] = {MEASURES[candidate.kept_by]: None, **found}
    return {f"validation_{name}": value for name, value in told.items()}
