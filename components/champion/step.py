"""The registry in, the model in production out: what a refresh starts from.

A step of its own, so that the one which trains needs no right to the registry.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from components.boundary import running
from recommender.errors import RegistryError
from recommender.files import atomic_directory, write_json
from recommender.registry import Lineage, Registry

FACTS, MODEL = "champion.json", "model"


def run(config: str, run_id: str, champion: str) -> None:
    """Fetch the champion.

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
        champion: the folder that gets `model` (a `recommender.artifact.Model`) and
            `champion.json`: its version, the moment from which on it learned nothing, and the
            text encoder that it was trained with.

    Raises:
        SystemExit: there is no champion, it is damaged, or it saw somebody who was forgotten.
    """
    with running("champion", config, run_id) as step:
        registry = Registry.configured(step.config)
        version = registry.champion()
        if version is None:
            raise RegistryError(
                f"{registry.location} has no champion that could be refreshed",
                "train one first: `ostinato run`",
            )
        if marks := registry.retrain_marks(version):
            # What a model learned of a person can't be taken out of it by learning more.
            raise RegistryError(
                f"the champion {version} saw {len(marks)} people who were forgotten since; "
                "a refresh would carry on what it knows of them",
                "train anew, without them: `ostinato run`",
            )
        lineage = registry.lineage(version)
        facts = {
            "version": version,
            "seen_until": _seen_until(lineage),
            "encoder": lineage.encoder,
        }
        with atomic_directory(Path(champion)) as temporary:
            shutil.copytree(registry.fetch(version), temporary / MODEL)
            write_json(temporary / FACTS, facts)
        step.summary |= facts


def _seen_until(lineage: Lineage) -> int:
    """Return the moment (UTC milliseconds) from which on a version learned nothing."""
    training = lineage.config.get("training", {})
    refreshed = bool(lineage.parents)
    fold = lineage.folds[-1]
    return fold.test_start if refreshed or training.get("refit", True) else fold.validation_start
