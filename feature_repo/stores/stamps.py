"""How old a row is: when it was true, when it was made, and which snapshot it stands on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from recommender.errors import FeatureError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Stamp(NamedTuple):
    """The age of a row, UTC microseconds each; compared by (event, created) like a tuple.

    Feast's own columns are too coarse for this: its SQLite store keeps seconds, its Redis store
    no `created` at all. So ours is kept beside them, and holds as long as Feast's column is what
    it was when ours was written.

    Attributes:
        event: as of when the row is true (`event_timestamp`).
        created: when it was made; breaks ties of `event`.
        base: `created` of the last snapshot that was written here; updates carry it on. 0 where
            no snapshot ever held the row.
    """

    event: int
    created: int
    base: int = 0


UNKNOWN = -(2**62)
"""Before everything: a `created` that a store doesn't tell."""


def microseconds(moment: datetime, name: str = "event_timestamp") -> int:
    """Return UTC microseconds; a moment without a time zone is taken as UTC.

    Raises:
        FeatureError: it isn't a datetime.
    """
    if not isinstance(moment, datetime):
        raise FeatureError(f"{name} is {moment!r}, which is no datetime")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def moment(us: int) -> datetime:
    """Return the datetime of UTC microseconds."""
    return _EPOCH + timedelta(microseconds=us)


def now_us() -> int:
    """Return the present moment, UTC microseconds."""
    return microseconds(datetime.now(UTC))
