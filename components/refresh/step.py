"""A data set and the champion in, a model that knows what happened since out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.boundary import running
from components.champion.step import FACTS, MODEL
from components.training import export, must_be_of_today
from recommender.artifact import Model
from recommender.baselines.cold_users import fit_cold_users
from recommender.ensemble import fused
from recommender.errors import ArtifactError, ConfigError
from recommender.features.dataset import Dataset
from recommender.files import read_json
from recommender.training import curves
from recommender.training.refresh import Champion, forget, refresh
from recommender.training.tracking import Tracker

ADAPTER = "adapter"
"""Folder of a candidate that holds its adapters, in the layout of `peft`."""


def run(config: str, run_id: str, dataset: str, champion: str, model: str) -> None:
    """Refresh the champion.

    A run that was killed goes on from its checkpoint when the step is started again. With
    `training.ensemble`, the refreshed model is fused with the other systems, fitted at the same
    cut, as the train step does; of a champion that is such an ensemble the unified model goes on.

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
        dataset: folder of a `recommender.features.dataset.Dataset` with one cut.
        champion: folder that the champion step left.
        model: the folder that gets `candidate` and `training.json`, as the train step's does.

    Raises:
        SystemExit: nothing happened since, the champion can't be gone on from, a loss is not
            finite, or the data set is unreadable or older than `features.freshness` allows.
    """
    with running("refresh", config, run_id) as step:
        must_be_of_today(Path(dataset), step.config)
        data = Dataset.read(Path(dataset))
        if len(data.folds) != 1:
            raise ConfigError(
                f"a refresh has one cut, split.folds is {len(data.folds)}: the champion has seen "
                "what lies behind the earlier ones",
                "use `ostinato refresh`, or set split.folds=1",
            )
        (fold,), reigning = data.folds, _champion(Path(champion))
        # First: what can't be made is told before the training, not behind it.
        cold = fit_cold_users(data, fold, step.config)
        tracker = Tracker(step.config, run_id)
        found = refresh(data, fold, reigning, step.config, on_epoch=tracker.of(0))
        whole = fused(found.trained.model, data, fold, step.config)
        trained = replace(found.trained, model=replace(whole, cold=cold))
        candidate = Path(model) / "candidate"
        trained.model.save(candidate)
        found.write_adapters(candidate / ADAPTER, reigning.version)
        if step.config.serving.compute.export:
            export(trained.model, candidate)
        told = {
            "recent": found.recent,
            "replayed": found.replayed,
            "new_items": found.new_items,
            "method": step.config.refresh.method,
        }
        record = Path(model) / "training.json"
        curves.write_record(record, [trained], parents=[reigning.version], refresh=told)
        curves.draw(step.folder / "curves.png", [trained])
        curves.write_events(step.folder / "tensorboard", [trained])
        tracker.finish([trained])
        step.summary |= told | {
            "from": reigning.version,
            "items": len(data.catalogue),
            "parameters": trained.parameters,
            "curves": str(step.folder / "curves.png"),
        }
        forget(data, fold, reigning, step.config)


def _champion(folder: Path) -> Champion:
    try:
        facts = read_json(folder / FACTS)
        version, seen_until = str(facts["version"]), int(facts["seen_until"])
        encoder = str(facts.get("encoder", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / FACTS} does not describe a champion: {error}") from error
    return Champion(version, Model.load(folder / MODEL), seen_until, encoder)
