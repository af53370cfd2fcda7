"""MovieLens latest-small as canonical, cleaned tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recommender.config import Config, load
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.tables import Tables

ROOT = Path(__file__).parents[1]


def movielens_small(
    shared_data: Path, workspace: Path, overrides: dict[str, Any] | None = None
) -> tuple[Config, Tables]:
    """Read and clean the data, by the configuration that is shipped."""
    location = {"source.location": str(shared_data / "ml-latest-small")}
    given = {**location, "workspace": str(workspace), **(overrides or {})}
    config = load(ROOT / "configs" / "movielens-small.yaml", given)
    tables, _ = read(config)
    return config, clean(tables, config, datetime(2026, 1, 1, tzinfo=UTC)).tables
