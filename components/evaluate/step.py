"""Models and a data set in, evidence out."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq

from components.boundary import running
from recommender.artifact import Model
from recommender.config import Config
from recommender.evaluation import report
from recommender.evaluation.assess import Champion, assess
from recommender.evaluation.evidence import CHAMPION, Evidence
from recommender.evaluation.long_term.served_lists import read_shown
from recommender.features.dataset import Dataset
from recommender.files import atomic_file
from recommender.registry import Registry
from recommender.registry.content import digests, version_of


def run(config: str, run_id: str, dataset: str, model: str, evaluation: str) -> None:
    """Score the candidate, its rivals and the champion on one frozen set of requests.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: folder of a `recommender.features.dataset.Dataset`.
        model: folder that the train step left: `candidate` and `folds/<i>`.
        evaluation: the folder that gets `evaluation.json`, `users.parquet` and `requests/`.

    Raises:
        SystemExit: an artifact is missing or damaged, or nobody can be tested.
    """
    with running("evaluate", config, run_id) as step:
        _limit_threads(step.config.training.threads)
        data = Dataset.read(Path(dataset))
        candidate = Path(model) / "candidate"
        earlier = [Path(model) / "folds" / str(n) for n in range(len(data.folds) - 1)]
        found = assess(
            data,
            [Model.load(folder) for folder in [*earlier, candidate]],
            step.config,
            run_id=run_id,
            candidate_version=version_of(digests(candidate)),
            champion=_champion(step.config),
            shown=read_shown(step.config, time.time_ns() // 1_000_000),
        )
        folder = Path(evaluation)
        found.requests.save(folder / "requests")
        with atomic_file(folder / "users.parquet") as temporary:
            pq.write_table(found.users, temporary, compression="zstd")
        found.evidence.write(folder)
        report.write(step.folder / report.FILE, found.evidence, None)
        step.summary |= _summary(found.evidence)


def _champion(config: Config) -> Champion | None:
    """Return what the registry says is in production, verified and loaded."""
    registry = Registry.configured(config)
    version = registry.champion()
    if version is None:
        return None
    model = Model.load(registry.fetch(version))
    marks = registry.retrain_marks(version)
    return Champion(version, model, registry.lineage(version).test_start, len(marks))


def _limit_threads(threads: int) -> None:
    """Let torch use as many threads as in training, so that scores can be repeated."""
    import torch

    torch.set_num_threads(threads)


def _summary(evidence: Evidence) -> dict[str, object]:
    primary = evidence.primary
    scores = {system.name: system.metrics[primary].estimate for system in evidence.systems}
    return {
        primary: {CHAMPION: None, **scores},
        "users": evidence.evaluation_set.users,
        "requests": evidence.evaluation_set.requests,
        "evaluation_set": evidence.evaluation_set.version,
        "candidate": evidence.candidate_version,
        "champion": evidence.champion.version if evidence.champion else None,
        "difference": {
            found.rival: {
                **found.difference[primary].model_dump(mode="json"),
                "detectable": found.detectable[primary],
                "users": found.users,
            }
            for found in evidence.comparisons
        },
    }
