"""A data version as the ingest and validate steps leave it: on disk, judged and accepted."""

from __future__ import annotations

from datetime import UTC, datetime

from recommender.config import Config
from recommender.quality.accepted import Accepted, accept
from recommender.quality.statistics import Statistics
from recommender.sources.versions import folder_of
from recommender.tables import Tables


def accept_tables(config: Config, tables: Tables, name: str = "d-000000000001") -> str:
    folder = folder_of(config.paths.data, name)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder)
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    accept(config.paths.data, Accepted(name, moment, Statistics.of(tables, config.actions)))
    return name
