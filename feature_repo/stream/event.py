"""One event from outside: validated, or rejected with the field and the value that are wrong.

The fields are the canonical ones (`recommender.tables.EVENTS`). An item need not be known: a new
one may be clicked on before its catalogue arrives. Fields of other names are ignored, so that
whoever sends events may add some.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from feature_repo.stream.rules import EventRules
from recommender.errors import UserError
from recommender.features.recent import Event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_EARLIEST = (datetime(1, 1, 2, tzinfo=UTC) - _EPOCH) // _MS
_LARGEST = float(np.finfo(np.float32).max)
_POSITIONS = 2**31
_SHOWN = 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class RejectedEventError(UserError):
    """An event can't be accepted, now or later: there is no point in sending it again.

    Args:
        field: that is wrong.
        value: that it holds.
        reason: what is wrong about it.
    """

    def __init__(self, field: str, value: Any, reason: str) -> None:
        shown = repr(value)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}…"
        super().__init__(f"{field} is {shown}: {reason}")
        self.field = field


class StreamEvent(NamedTuple):
    """One valid event, fields as in `recommender.tables.EVENTS`; `time` in UTC milliseconds."""

    event_id: str
    user_id: str
    item_id: str
    event: str
    time: int
    value: float | None = None
    surface: str | None = None
    position: int | None = None
    propensity: float | None = None

    def in_sequence(self, arrival: int, surfaces: Sequence[str] = ()) -> Event:
        """Return the event as a sequence keeps it.

        Args:
            arrival: when it reached us, UTC milliseconds.
            surfaces: those that the sequence tells apart.
        """
        # The store keeps float32; rounded here, a stored event equals its next delivery.
        value = math.nan if self.value is None else float(np.float32(self.value))
        surface = self.surface if self.surface in surfaces else ""
        told = surface if surfaces else None
        return Event(self.time, self.event_id, self.item_id, self.event, value, arrival, told)


def read_event(given: Any, rules: EventRules, now_ms: int) -> StreamEvent:
    """Validate one event.

    Args:
        given: by field name, as JSON or Python values. `time` is UTC milliseconds, ISO 8601 text
            with a zone, or an aware datetime.
        rules: of the data set.
        now_ms: the present moment, UTC milliseconds.

    Raises:
        RejectedEventError: a field is missing or wrong; it is named, with its value.
    """
    if not isinstance(given, Mapping):
        raise RejectedEventError("event", given, "not a set of named fields")
    kind = _text(given, "event", rules.longest)
    if kind not in rules.types:
        raise RejectedEventError(
            "event", kind, f"an unknown event type; known are {', '.join(rules.types)}"
        )
    time = _time(given.get("time"))
    if time > now_ms + rules.future_ms:
        ahead = (time - now_ms) // 1000
        raise RejectedEventError("time", given["time"], f"{ahead} s ahead of this machine's clock")
    position = _number(given, "position")
    if position is not None and not (position.is_integer() and 0 <= position < _POSITIONS):
        raise RejectedEventError("position", given["position"], "not a whole number from 0 on")
    propensity = _number(given, "propensity")
    if propensity is not None and not 0 < propensity <= 1:
        raise RejectedEventError("propensity", propensity, "no probability above 0 and up to 1")
    surface = given.get("surface")
    return StreamEvent(
        _text(given, "event_id", rules.longest),
        _text(given, "user_id", rules.longest),
        _text(given, "item_id", rules.longest),
        kind,
        time,
        _number(given, "value"),
        None if surface is None else _text(given, "surface", rules.longest),
        None if position is None else int(position),
        propensity,
    )


def _text(given: Mapping[str, Any], field: str, longest: int) -> str:
    value = given.get(field)
    if value is None or value == "":
        raise RejectedEventError(field, value, "missing")
    if not isinstance(value, str):
        raise RejectedEventError(field, value, f"{type(value).__name__}, not text")
    if len(value) > longest:
        raise RejectedEventError(field, value, f"{len(value)} characters, more than {longest}")
    if _CONTROL.search(value):
        raise RejectedEventError(field, value, "holds a control character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RejectedEventError(field, value, "not valid Unicode") from None
    return value


def _number(given: Mapping[str, Any], field: str) -> float | None:
    value = given.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RejectedEventError(field, value, f"{type(value).__name__}, not a number")
    if not abs(value) <= _LARGEST:
        raise RejectedEventError(field, value, "not a finite 32-bit number")
    return float(value)


def _time(value: Any) -> int:
    """Return UTC milliseconds; finer parts are cut off."""
    if value is None:
        raise RejectedEventError("time", value, "missing")
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise RejectedEventError(
                "time", value, "no ISO 8601 moment such as 2026-01-31T12:00:00.000Z"
            ) from None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise RejectedEventError("time", value, "without a time zone; add Z for UTC")
        # Not `.timestamp()`: as a float it would round the milliseconds of far moments.
        return (moment - _EPOCH) // _MS
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RejectedEventError("time", value, f"{type(value).__name__}, not a moment")
    if not math.isfinite(value) or value != int(value):
        raise RejectedEventError("time", value, "no whole number of milliseconds")
    if value < _EARLIEST:
        raise RejectedEventError("time", value, "before the year 1")
    return int(value)
