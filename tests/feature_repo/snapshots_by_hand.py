"""Snapshots of small tables at a profile's offline location, and nothing online yet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from tables_by_hand import Event, tables

from feature_repo.locations import project_name
from feature_repo.offline import write_snapshot
from feature_repo.profile import Profile
from recommender.config import Config
from recommender.features.snapshots import snapshots
from recommender.features.text import TextVectors


def write_offline(
    config: Config, profile: Profile, events: list[Event], as_of: int, **items: Any
) -> dict[str, pa.Table]:
    """Write the live project's snapshots; return them by view."""
    made = tables(events, **items)
    count = made.items.num_rows
    vectors = np.full((count, 4), 0.5, np.float32)
    # By hand: loading a text encoder costs more than all of this.
    text = TextVectors(vectors, ("said",) * count, ("#",) * count, "by@hand", 0, 0, 0, 0.0)
    built = snapshots(made, config, text, as_of, datetime.now(UTC))
    location = profile.offline_location(config.paths.features, project_name(config, "live"))
    for view, table in built.tables.items():
        write_snapshot(location, view, table)
    return built.tables
