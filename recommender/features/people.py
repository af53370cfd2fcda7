"""A log that knows its people: the attributes of a data set, user by user."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from recommender.config.actions import ActionsConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog
from recommender.features.social import followed, with_followed


def with_people(log: EventLog, attributes: pa.Table | None) -> EventLog:
    """Return a log that knows its people.

    Args:
        log: of pseudonyms.
        attributes: of a `Dataset`: column `user` and one per attribute; None: nothing is known.
    """
    if attributes is None:
        return log
    known = {
        str(row.pop("user")): {name: value for name, value in row.items() if value is not None}
        for row in attributes.to_pylist()
    }
    return replace(log, people=tuple(known.get(user) for user in log.users))


def as_of(log: EventLog, dataset: Dataset, actions: ActionsConfig, cut: int) -> EventLog:
    """Return a log that knows of its people what the feature store would have known at a cut.

    Attributes have no times: they are as they are. What those whom somebody follows took is what
    they took before the cut.

    Args:
        log: of pseudonyms.
        dataset: attributes, follow graph, and the events that lie behind both.
        actions: says what counts as taken.
        cut: ms.
    """
    known = with_people(log, dataset.attributes)
    if dataset.follows is None:
        return known
    successes = dataset.log.of_types(actions.successes, actions)
    return with_followed(known, followed(dataset.follows, successes, dataset.catalogue, cut))
