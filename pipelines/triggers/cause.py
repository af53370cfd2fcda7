"""Why a run shall start, read from what callers send.

CloudEvents 1.0 of four types, and S3's own notifications, bare or in a CloudEvent (as Argo Events
hands them on):

| type | data | means |
|---|---|---|
| `ostinato.data.landed` | `location` or `data_version`, both optional | new raw data |
| `ostinato.drift.found` | `why` | data or features have moved |
| `ostinato.quality.decayed` | `why` | people do less with what they are shown |
| `ostinato.run.asked` | `why`, and by whom in `source` | somebody asks |
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from recommender.errors import UserError

_LONGEST = 500
_LONGEST_KEY = 3 * 1024
"""An object's name has up to 1,024 bytes, three characters each in a query string."""


class Kind(StrEnum):
    """What happened."""

    LANDED = "ostinato.data.landed"
    DRIFT = "ostinato.drift.found"
    DECAY = "ostinato.quality.decayed"
    ASKED = "ostinato.run.asked"


class InvalidCauseError(UserError):
    """What a caller sent says nothing that could start a run; the message names the field."""


@dataclass(frozen=True)
class Cause:
    """One reason for a run.

    Attributes:
        id: of the event, with its source: the same twice is one.
        kind: what happened.
        why: for people.
        location: where data landed, or "".
        data_version: a version of the canonical tables that the event names, or "".
    """

    id: str
    kind: Kind
    why: str
    location: str = ""
    data_version: str = ""


def read(body: Any) -> list[Cause]:
    """Read the causes in a decoded body: a CloudEvent, several, or an S3 notification.

    Raises:
        InvalidCauseError: a field is missing or wrong; nothing of the body counts.
    """
    events = body if isinstance(body, list) else [body]
    if not events:
        raise InvalidCauseError("the body holds no event")
    return [cause for event in events for cause in _causes(event)]


def _causes(event: Any) -> list[Cause]:
    if not isinstance(event, Mapping):
        raise InvalidCauseError("an event must be a JSON object")
    if "Records" in event:
        return _s3(event)
    data = event.get("data")
    if isinstance(data, Mapping) and "Records" in data:
        return _s3(data)
    kind, source, name = (_text(event, key) for key in ("type", "source", "id"))
    if kind not in set(Kind):
        known = ", ".join(Kind)
        raise InvalidCauseError(f"type {kind!r} starts no run; these do: {known}")
    told: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    unknown = set(told) - {"why", "location", "data_version"}
    if unknown:
        raise InvalidCauseError(f"data has unknown fields: {', '.join(sorted(unknown))}")
    location, version = _optional(told, "location"), _optional(told, "data_version")
    # A reason is for people: a long one is cut, which is no reason to lose the run.
    why = _optional(told, "why", sys.maxsize)[:_LONGEST] or f"{kind} from {source}"
    whose = source.replace("%", "%25").replace("#", "%23")  # a source may have a # of its own
    return [Cause(f"{whose}#{name}", Kind(kind), why, location, version)]


def _s3(notification: Mapping[str, Any]) -> list[Cause]:
    """Read S3's notification: every created object in it is a cause."""
    causes = []
    records = notification["Records"]
    if not isinstance(records, list):
        raise InvalidCauseError("not a notification of S3: Records is no list")
    for record in records:
        try:
            thing = dict(record["s3"]["object"])
            bucket, key = _text(record["s3"]["bucket"], "name"), _text(thing, "key", _LONGEST_KEY)
            happened = _text(record, "eventName")
            # S3 delivers at least once; the same writing of the same object has the same sequencer.
            marks = (_optional(thing, name) for name in ("sequencer", "versionId", "eTag"))
            mark = next(filter(None, marks), "")
        except (KeyError, TypeError, ValueError, AttributeError, InvalidCauseError) as error:
            raise InvalidCauseError(f"not a notification of S3 ({error})") from None
        if "ObjectCreated" not in happened:
            continue
        key = unquote_plus(key)  # keys come as in a query string
        told = hashlib.sha256(json.dumps([bucket, key, mark]).encode()).hexdigest()[:24]
        location = f"s3://{bucket}/{key}"
        causes.append(Cause(f"s3#{told}", Kind.LANDED, f"{location} was written", location))
    return causes


def _text(event: Mapping[str, Any], key: str, longest: int = _LONGEST) -> str:
    value = event.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not _is_written(value):
        raise InvalidCauseError(f"{key} must be a text of up to {longest} characters")
    return value


def _is_written(text: str) -> bool:
    """Tell whether a text can be written down: JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _optional(data: Mapping[str, Any], key: str, longest: int = _LONGEST) -> str:
    return _text(data, key, longest) if data.get(key) else ""
