"""A log that knows its people: the attributes of a data set, user by user."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from recommender.features.sequences import EventLog


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
