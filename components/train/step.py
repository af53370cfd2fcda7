"""A data set in, trained models out."""

from __future__ import annotations

from pathlib import Path

from components.boundary import Step, running
from recommender.features.dataset import Dataset
from recommender.training import curves
from recommender.training.run import Trained, forget, train


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
        SystemExit: too little data, a loss that is not finite, an unreadable data set.
    """
    with running("train", config, run_id) as step:
        data = Dataset.read(Path(dataset))
        folder = Path(model)
        trained = []
        for place, fold in enumerate(data.folds):
            label = "train" if len(data.folds) == 1 else f"train {place + 1}/{len(data.folds)}"
            one = train(data, fold, step.config, label)
            last = place == len(data.folds) - 1
            one.model.save(folder / "candidate" if last else folder / "folds" / str(place))
            trained.append(one)
        curves.write_record(folder / "training.json", trained)
        curves.draw(step.folder / "curves.png", trained)
        curves.write_events(step.folder / "tensorboard", trained)
        _summarise(step, trained, len(data.catalogue))
        for fold in data.folds:
            forget(data, fold, step.config)


def _summarise(step: Step, trained: list[Trained], items: int) -> None:
    candidate = trained[-1]
    seconds = sum(one.seconds for one in trained)
    events = sum(epoch.events for one in trained for epoch in one.curve)
    step.summary |= {
        "models": len(trained),
        "items": items,
        "parameters": candidate.parameters,
        "best_epoch": candidate.best_epoch,
        "validation_ndcg@10": candidate.validation_ndcg,
        "validation_users": candidate.validation_users,
        "events_per_second": round(events / seconds) if seconds else None,
        "curves": str(step.folder / "curves.png"),
    }
