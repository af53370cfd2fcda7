"""Workers of a study of settings, and what they found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml

from components.boundary import running
from recommender.config import Config
from recommender.config.training import MEASURES
from recommender.config.tree import with_settings
from recommender.features.dataset import Dataset
from recommender.files import atomic_file, write_json


def seats(config: str, run_id: str) -> list[str]:
    """Return a name for each worker, from "0".

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
    """
    del run_id
    return [str(worker) for worker in range(Config.from_json(config).tuning.workers)]


def run(config: str, run_id: str, worker: str, dataset: str) -> None:
    """Try settings until the study has as many trials as are wanted.

    Killed and started again, a worker goes on with the trial that it had begun.

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
        worker: which one this is.
        dataset: folder of a `recommender.features.dataset.Dataset`.

    Raises:
        SystemExit: the space names a setting that isn't there, or the data can't be read.
    """
    from recommender.training.tuning import Tuning

    with running(f"tune-{worker}", config, run_id) as step:
        tuning = Tuning(Dataset.read(Path(dataset)), step.config)
        tuning.run(int(worker))
        step.summary |= {"study": tuning.name}


def conclude(config: str, run_id: str, dataset: str, settings: str) -> None:
    """Write what the study has found.

    Args:
        config: the configuration as JSON.
        run_id: of the pipeline run.
        dataset: that was searched on.
        settings: the folder that gets `tuning.json` and `best.yaml`; they also lie among the run's
            reports.

    Raises:
        SystemExit: no trial came to its end.
    """
    from recommender.training.tuning import Tuning

    with running("tuned", config, run_id) as step:
        tuning = Tuning(Dataset.read(Path(dataset)), step.config)
        found = tuning.findings()
        best = found.best
        configured = found.configured
        measure = MEASURES[step.config.training.keep_by]
        told = {
            "study": found.study,
            "compared_by": measure,
            "best": asdict(best),
            "trials": [asdict(each) for each in found.trials],
        }
        for folder in (Path(settings), step.folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "tuning.json", told)
            with atomic_file(folder / "best.yaml") as temporary:
                temporary.write_text(_overrides(best.settings), encoding="utf-8")
                temporary.chmod(0o644)
        step.summary |= {
            "study": found.study,
            "trials": len(found.trials),
            "best": best.settings,
            f"validation_{measure}": best.value,
            f"configured_{measure}": configured.value if configured else None,
            "tuning": str(step.folder / "tuning.json"),
        }


def _overrides(settings: dict[str, object]) -> str:
    """Return settings as the part of a configuration file that sets them."""
    return yaml.safe_dump(with_settings({}, settings, "tuning.space"), sort_keys=True)
