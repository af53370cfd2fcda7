"""What a data set gives to learn from: its log as the model reads it, and the examples in that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config import Config
from recommender.errors import ConfigError
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.sequences import EventLog, Ints
from recommender.model.people import PeopleCodes
from recommender.training.demand import log_demand
from recommender.training.examples import Examples


def log_read(dataset: Dataset, config: Config) -> EventLog:
    """Return the log with what the model reads of people and surfaces, and no more of them.

    Raises:
        ConfigError: the model is to read what the data set does not hold, of items, too.
    """
    _must_hold(dataset.items, config)
    log, wanted = dataset.log, config.model.user_attributes
    if config.model.surface and log.surfaces is None:
        raise ConfigError(
            "model.surface is true, but the data set tells no surfaces apart",
            "name them in actions.surfaces, and run from materialize again",
        )
    if not config.model.surface:
        log = replace(log, surfaces=None)
    if not wanted:
        return log
    held = () if dataset.attributes is None else dataset.attributes.column_names
    if missing := sorted(set(wanted) - set(held)):
        raise ConfigError(
            f"model.user_attributes names {', '.join(missing)}, which the data set lacks",
            "map them in source.users.attributes, and run from materialize again",
        )
    return with_people(log, dataset.attributes)


def _must_hold(items: pa.Table, config: Config) -> None:
    """Refuse further numbers and vectors that no item has: they would be zeros for all."""
    for kind in ("numbers", "vectors"):
        chunks = items[kind].chunks if kind in items.column_names else ()
        held = {name for chunk in chunks for name in pc.unique(chunk.keys).to_pylist()}
        if missing := sorted(set(getattr(config.model, kind)) - held):
            raise ConfigError(
                f"model.{kind} names {', '.join(missing)}, which no item of the data set has",
                f"map them in source.items.columns.{kind}, and run from ingest again",
            )


def people_before(log: EventLog, cut: int) -> list[Mapping[str, str] | None]:
    """Return what is known of everybody who did something before a cut (ms)."""
    active_U = np.zeros(len(log.users), bool)
    active_U[log.user_of_event[log.times < cut]] = True
    people = log.people or (None,) * len(log.users)
    return [person for person, active in zip(people, active_U, strict=True) if active]


def examples_of(
    dataset: Dataset, cut: int, config: Config, people: PeopleCodes | None = None
) -> Examples:
    """Return the examples before a cut, all but what demand says of items.

    Args:
        dataset: whose log, and whose people.
        cut: nothing at or after this moment (ms) is read.
        config: the whole tree.
        people: what is read of whoever it is.

    Raises:
        TrainingError: too little data.
        ConfigError: the model is to read what the data set does not hold.
    """
    return _examples(log_read(dataset, config), dataset, cut, config, people, None)


def examples_before(
    dataset: Dataset, cut: int, config: Config, people: PeopleCodes | None = None
) -> Examples:
    """Return the examples before a cut with all that they tell of items; as `examples_of`."""
    log = log_read(dataset, config)
    demand = partial(log_demand, log, dataset.items, config) if config.model.demand else None
    return _examples(log, dataset, cut, config, people, demand)


def _examples(
    log: EventLog,
    dataset: Dataset,
    cut: int,
    config: Config,
    people: PeopleCodes | None,
    demand: Callable[[Ints], NDArray[np.float32]] | None,
) -> Examples:
    return Examples.build(
        log,
        cut,
        len(dataset.catalogue),
        config.actions,
        config.model.history,
        config.training.other_weight,
        slices=config.training.popularity_slices,
        latest_window=config.training.windows == "latest",
        people=people,
        demand=demand,
        values=config.model.ranking.values,
    )
