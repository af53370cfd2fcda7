"""Where the embedded stores of a workspace lie, and how its Feast projects are called."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from recommender.config import Config
from recommender.workspace import Workspace

Lane = Literal["live", "rehearsal"]
"""`live` is what the endpoint reads; `rehearsal` is what a canary's held-out users are
answered from, as of the test cut."""

PROJECT_VARIABLE = "OSTINATO_FEAST_PROJECT"
FEATURES_VARIABLE = "OSTINATO_FEATURES"


def project_name(config: Config, lane: Lane) -> str:
    """Return the Feast project of one lane; Feast allows only letters, digits and `_`."""
    name = config.name.replace("-", "_")
    return name if lane == "live" else f"{name}_rehearsal"


def registry_db(paths: Workspace) -> Path:
    """Return the SQL registry: definitions and materialization intervals of all projects."""
    return paths.features / "registry.db"


def online_db(paths: Workspace) -> Path:
    """Return the online store of all projects."""
    return paths.features / "online.db"


def offline_folder(features: Path, project: str) -> Path:
    """Return the folder of one project's snapshots, a Parquet file per view."""
    return features / "offline" / project
