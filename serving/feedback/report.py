"""What callers tell about a list: read strictly, and as a row and a CloudEvent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from recommender.served import FEEDBACK
from serving.ask import Id, Moment
from serving.served_log.served_list import enveloped

FEEDBACK_TYPE = "io.ostinato.feedback.v1"
"""The CloudEvents type of what came of a shown item."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidFeedbackError(ValueError):
    """A body is wrong; the message names what and where."""


class Told(BaseModel):
    """One click or conversion, as the caller tells it.

    Attributes:
        request_id: of the answer that showed the item.
        item_id: that was clicked, bought, rated …
        action: an event type.
        time: when it happened, UTC milliseconds or ISO 8601 with a zone; None: now.
        value: a rating, a price …
        user_id: whose it is. Only with it the event can be sent on to the stream, and it must be
            the user that the list was made for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    request_id: Annotated[str, Field(min_length=1, max_length=1024)]
    item_id: Id
    action: Id
    time: Moment | None = None
    value: float | None = None
    user_id: Id | None = None

    @field_validator("time", mode="before")
    @classmethod
    def _moment(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            raise ValueError("no ISO 8601 moment such as 2026-01-31T12:00:00.000Z") from None
        if moment.tzinfo is None:
            raise ValueError("without a time zone; add Z for UTC")
        return (moment - _EPOCH) // timedelta(milliseconds=1)


class _Batch(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    feedback: Annotated[list[Told], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Feedback:
    """Feedback that counts; fields as in `recommender.served.FEEDBACK`, times in UTC ms."""

    event_id: str
    request_id: str
    item_id: str
    action: str
    time: int
    value: float | None
    received: int


def read_feedback(body: bytes, most: int) -> list[Told]:
    """Read a body: one object, or `{"feedback": [ … ]}`.

    Args:
        body: JSON.
        most: entries that are accepted.

    Raises:
        InvalidFeedbackError: a key or a value is wrong; each is named, with its path.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidFeedbackError(
            'send JSON: {"request_id": "…", "item_id": "42", "action": "click"}, or several as '
            '{"feedback": [ … ]}'
        )
    single = "feedback" not in given
    try:
        told = _Batch.model_validate({"feedback": [given]} if single else given).feedback
    except ValidationError as error:
        lines = [
            f"{_path(e['loc'][2:] if single else e['loc'])}: {_reason(e)}"
            for e in error.errors(include_url=False, include_input=False)
        ]
        more = f" (and {len(lines) - 5} more)" if len(lines) > 5 else ""
        raise InvalidFeedbackError("; ".join(lines[:5]) + more) from None
    if len(told) > most:
        raise InvalidFeedbackError(f"feedback: {len(told)} entries; {most} at most are taken")
    return told


def event_id(request_id: str, item_id: str, action: str) -> str:
    """Return the id of an event: the same for the same action on the same item of a list."""
    told = "\0".join([request_id, item_id, action])
    return f"fb-{hashlib.blake2b(told.encode(), digest_size=12).hexdigest()}"


def feedback_table(told: Iterable[Feedback]) -> pa.Table:
    """Return feedback as rows."""
    rows = list(told)
    columns = [
        pa.array([getattr(one, f.name) for one in rows], pa.int64()).cast(f.type)
        if pa.types.is_timestamp(f.type)
        else pa.array([getattr(one, f.name) for one in rows], f.type)
        for f in FEEDBACK
    ]
    return pa.table(columns, schema=FEEDBACK)


def feedback_event(one: Feedback, version: str = "") -> dict[str, Any]:
    """Return feedback as a CloudEvent 1.0 in structured JSON; its `id` is the event's."""
    data = {
        "request_id": one.request_id,
        "item_id": one.item_id,
        "action": one.action,
        "value": one.value,
        "received": one.received,
    }
    return enveloped(FEEDBACK_TYPE, one.event_id, version, one.time, data)


def _path(location: Sequence[int | str]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "feedback"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "missing"
    return str(error["msg"]).removeprefix("Value error, ")
