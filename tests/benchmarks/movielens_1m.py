"""MovieLens-1M in order, cut leave-one-out: what comparisons with others start from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_settings import given_settings

from recommender.config import Config, load
from recommender.evaluation.protocols import LeaveOneOut, leave_one_out
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import TextVectors
from recommender.privacy import Pseudonyms
from recommender.quality.clean import clean
from recommender.sources.read import read

CONFIG = Path(__file__).parents[2] / "configs" / "movielens-1m-order.yaml"


def in_order(
    shared_data: Path, workspace: Path, settings: str = ""
) -> tuple[Config, Dataset, LeaveOneOut]:
    """Read the data by the shipped configuration, changed by settings like `training.epochs=4`."""
    given: dict[str, Any] = {
        "source.events.location": str(shared_data / "ml-1m" / "interactions_in_order.parquet"),
        "workspace": str(workspace),
        **given_settings(settings),
    }
    config = load(CONFIG, given)
    tables, _ = read(config)
    tables = clean(tables, config, datetime(2026, 1, 1, tzinfo=UTC)).tables
    # Order alone: the words of a film are not read.
    size = len(catalogue_order(tables.items))
    nothing = np.zeros((size, 1), np.float32)
    text = TextVectors(nothing, ("",) * size, ("",) * size, "none", 0, 0, size, 0.0)
    dataset = build_dataset(tables, config, text, Pseudonyms(b"sixteen bytes ok"), "v")
    return config, dataset, leave_one_out(dataset, config.actions, config.features.history_limit)
