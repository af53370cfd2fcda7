"""From a configuration to a sink of its live project's events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from feature_repo.freshness import Arrivals, place_of
from feature_repo.locations import project_name
from feature_repo.profile import read_profile
from feature_repo.stream.apply import EventSink, now_ms
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules
from recommender.config import Config
from recommender.forgetting.suppression import Suppressions


def landing_of(config: Config) -> Landing:
    """Return where the events of a configuration's live project land.

    Raises:
        ConfigError: the environment names stores that can't be.
    """
    location = read_profile().offline_location(config.paths.features, project_name(config, "live"))
    return Landing(location)


def open_sink(config: Config, clock: Callable[[], int] = now_ms) -> EventSink:
    """Open what the events of a configuration's live project go through.

    Args:
        config: of the data set.
        clock: UTC milliseconds; a replay of old events may have its own.

    Raises:
        ConfigError: the environment names stores that can't be.
        FeatureError: the online store can't be opened.
    """
    from feature_repo.stores import open_online

    project = project_name(config, "live")
    return EventSink(
        open_online(config.paths, project),
        landing_of(config),
        EventRules.of(config),
        arrivals=Arrivals(place_of(config.paths, project)),
        suppressed=Suppressions(config.paths).is_suppressed,
        clock=clock,
    )


def dead_letter_path(config: Config) -> Path:
    """Return the file of a workspace that keeps rejected events."""
    return config.paths.features / "rejected" / f"{project_name(config, 'live')}.jsonl"
