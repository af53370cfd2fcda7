"""The real data sets as the shipped configurations read them, for comparisons of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.bench import dataset_of
from recommender.config import Config, load
from recommender.features.dataset import Dataset

CONFIGS = Path(__file__).parents[2] / "configs"

LOCATIONS: dict[str, dict[str, str]] = {
    "movielens-small": {"source.location": "ml-latest-small"},
    "movielens-100k": {
        "source.events.location": "ml-100k",
        "source.items.location": "ml-100k",
        "source.users.location": "ml-100k",
    },
    "online-retail": {"source.events.location": "online-retail-ii"},
    "taobao": {"source.events.location": "taobao"},
}
"""The folder of each below the shared data."""


def world(
    name: str, shared_data: Path, workspace: Path, overrides: dict[str, Any] | None = None
) -> tuple[Config, Dataset]:
    """Return a configuration and its data set.

    Args:
        name: of a file in `configs/`.
        shared_data: where the data lies.
        workspace: holds the cache of text vectors.
        overrides: settings in place of the file's.
    """
    places = {key: str(shared_data / folder) for key, folder in LOCATIONS[name].items()}
    given = {**places, "workspace": str(workspace), "features.text.threads": 1, **(overrides or {})}
    config = load(CONFIGS / f"{name}.yaml", given)
    return config, dataset_of(config)


def changed(config: Config, settings: dict[str, Any]) -> Config:
    """Return the configuration with some settings (dotted keys) changed."""
    tree = config.model_dump(mode="json")
    for key, value in settings.items():
        *path, last = key.split(".")
        branch = tree
        for name in path:
            branch = branch[name]
        branch[last] = value
    return Config.model_validate(tree)


def without_words(dataset: Dataset) -> Dataset:
    """Return the data set without anything that is said of its items."""
    return replace(dataset, text=np.zeros_like(dataset.text))
