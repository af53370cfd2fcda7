"""What registry tests register: a real popularity model, its lineage, a decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config.actions import ActionsConfig
from recommender.features.sequences import Catalogue
from recommender.registry import Decision, Lineage, Status
from recommender.split import Fold

FOLD = Fold(validation_start=1_000, test_start=2_000, test_end=3_000)


def save_model(folder: Path, best: int = 0) -> Path:
    """Save a popularity model of five items, of which row `best` is the most popular."""
    counts = np.arange(5, dtype=np.float32)
    counts[best] = 10
    catalogue = Catalogue(tuple(f"i{row}" for row in range(5)))
    titles = tuple(f"Title {row}" for row in range(5))
    model = Model(Popularity(catalogue, counts), titles, ActionsConfig(types=("view", "buy")), 50)
    model.save(folder)
    return folder


def lineage(run_id: str = "run-1") -> Lineage:
    return Lineage(
        run_id, "d-1", "fp", {"name": "test"}, "src-0", (FOLD,), metrics={"ndcg@10": 0.1}
    )


def decision(run_id: str = "run-1", status: Status = Status.PASSED) -> Decision:
    return Decision(run_id, status, f"runs/{run_id}/gate.html", {"rules": ["enough users"]})
