"""The answer for people without a history, made of what lies before a cut.

Shape letters: I items, G groups of people.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recommender.baselines.popularity import count
from recommender.baselines.trend_popularity import TrendPopularity
from recommender.cold_users import ColdUsers
from recommender.config import Config
from recommender.errors import ConfigError
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.sequences import EventLog
from recommender.scoring import Floats
from recommender.split import Fold

_MOST_GROUPS = 256


def fit_cold_users(dataset: Dataset, fold: Fold, config: Config) -> ColdUsers | None:
    """Make what `serving.cold_users` asks for of everything before the fold's test window.

    Returns:
        the answer; None where the model itself shall answer.

    Raises:
        ConfigError: it goes by profile, and the data set has no attributes of people; or by whom
            they follow, and it has no follow graph.
    """
    kind = config.serving.cold_users
    if kind == "model":
        return None
    size = len(dataset.catalogue)
    if kind == "trend":
        trend = TrendPopularity.ahead(dataset.log, dataset.items, config, fold.test_start)
        return ColdUsers("trend", trend.weights()["counts"], (), np.empty((0, size), np.float32))
    successes = dataset.log.of_types(config.actions.successes, config.actions)
    known = successes.before(fold.test_start)
    popular_I = count(known.items, size)
    if kind == "popular":
        return ColdUsers("popular", popular_I, (), np.empty((0, size), np.float32))
    if kind == "social" and dataset.follows is None:
        raise ConfigError(
            "serving.cold_users is social, but the data set has no follow graph",
            "set serving.cold_users: popular, or map the graph with source.follows (see "
            "configs/generic.yaml) and run from ingest again",
        )
    neighbours = dataset.catalogue if kind == "social" else None
    if kind == "social" and dataset.attributes is None:
        nobody_GI = np.empty((0, size), np.float32)
        return ColdUsers("popular", popular_I, (), nobody_GI, neighbours)
    if dataset.attributes is None:
        raise ConfigError(
            "serving.cold_users is profile, but the data set has no attributes of people",
            "name them in evaluation.slices.attributes, and run from materialize again",
        )
    return ColdUsers(
        "popular", popular_I, *_groups(with_people(known, dataset.attributes), size), neighbours
    )


def _groups(log: EventLog, size: int) -> tuple[list[str], Floats]:
    """Return the largest groups, and what they took, (G, I)."""
    members: dict[str, list[int]] = {}
    people: tuple[Mapping[str, str] | None, ...] = log.people or ()
    for user, person in enumerate(people):
        for name, value in (person or {}).items():
            members.setdefault(f"{name}={value}", []).append(user)
    # The smallest would be nearly everybody's answer anyway; memory is bounded.
    names = sorted(members, key=lambda name: (-len(members[name]), name))[:_MOST_GROUPS]
    counts_GI = np.zeros((len(names), size), np.float32)
    for row, name in enumerate(names):
        mine = np.isin(log.user_of_event, np.array(members[name]))
        counts_GI[row] = count(log.items[mine], size)
    return names, counts_GI
