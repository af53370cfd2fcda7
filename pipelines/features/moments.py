"""Moments as people write them, and what was understood."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from recommender.errors import FeatureError

_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def read_moment(text: str, now: datetime) -> int:
    """Return the moment that a text means, UTC milliseconds.

    Args:
        text: a date (its first moment, UTC), an ISO 8601 time with a zone or without one (then
            UTC), or `now`.
        now: the present moment.

    Raises:
        FeatureError: it is none of these; says which forms there are.
    """
    given = text.strip()
    if given.lower() == "now":
        moment = now
    else:
        try:
            if _DATE.match(given):
                day = date.fromisoformat(given)
                moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
            else:
                moment = datetime.fromisoformat(given)
        except ValueError as error:
            raise FeatureError(
                f"{text!r} is not a moment: {error}",
                "write a date (2003-02-01), a time (2003-02-01T18:30, taken as UTC), a time with "
                "a zone (2003-02-01T18:30+08:00), or now",
            ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Exact: floats lose milliseconds.
    return (moment - _EPOCH) // _MILLISECOND


def told_moment(ms: int) -> str:
    """Write a moment for people: UTC, with milliseconds only where there are some."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    fraction = f".{ms % 1000:03}" if ms % 1000 else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"
