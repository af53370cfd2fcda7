"""What is asked of a model, whatever protocol it came by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAXIMUM_K = 1000
MAXIMUM_ASKS = 256
MAXIMUM_CANDIDATES = 1000
_MAXIMUM_EVENTS = 10_000
_MAXIMUM_CATEGORIES = 100
# Milliseconds that a double still counts one by one; JSON has no larger integers to rely on.
_LAST_MOMENT = 2**53

Id = Annotated[str, Field(min_length=1, max_length=512)]
Moment = Annotated[int, Field(ge=0, le=_LAST_MOMENT)]


class InvalidAskError(ValueError):
    """A request is wrong; the message names what and where."""


class Fallback(StrEnum):
    """Why an answer was made without a history."""

    UNKNOWN_USER = "unknown_user"
    NO_HISTORY = "no_history"
    STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True)
class Events:
    """A history in columns, one entry per event.

    Attributes:
        items: item ids.
        actions: event types, by name.
        times: UTC milliseconds.
        values: what the event carried, or NaN.
        as_of: the moment up to which the store knew of events, UTC milliseconds; None where the
            events came with the request.
        surfaces: where each event happened, empty texts where that isn't known; none at all where
            nobody asked.
    """

    items: Sequence[str] = ()
    actions: Sequence[str] = ()
    times: Sequence[int] = ()
    values: Sequence[float] = ()
    as_of: int | None = None
    surfaces: Sequence[str] = ()


NOTHING = Events()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class AskedEvent(_Strict):
    """An event of a history that came with the request."""

    item_id: Id
    action: Id
    time: Moment
    value: float | None = None
    surface: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class Ask(_Strict):
    """One request for recommendations.

    Attributes:
        user_id: whose history is read from the feature store.
        history: a history to use instead (an anonymous visit); in any order.
        k: how many items are wanted; with `candidates` all of them, unless it is given.
        candidates: item ids to put in order (ranking mode): exactly these are ranked, also what
            the user has taken already. None: the whole catalogue is ranked.
        exclude: item ids that shall not be recommended.
        categories: only items in any of these are recommended; None: all are.
        surface: where the list is shown, as the caller calls the place; it is recorded with the
            list, and read by models that tell surfaces apart.
        time: the moment of asking, UTC milliseconds; None: now. Only events strictly before it
            are read.
        explore: whether the list may be drawn by the exploration policy; false: always the best.
        record: whether the list is logged; false for one that nobody is shown.
    """

    user_id: Id | None = None
    history: Annotated[list[AskedEvent], Field(max_length=_MAXIMUM_EVENTS)] | None = None
    k: Annotated[int, Field(ge=1, le=MAXIMUM_K)] = 10
    candidates: Annotated[list[Id], Field(min_length=1, max_length=MAXIMUM_CANDIDATES)] | None = (
        None
    )
    exclude: Annotated[list[Id], Field(max_length=_MAXIMUM_EVENTS)] = []
    categories: Annotated[list[Id], Field(min_length=1, max_length=_MAXIMUM_CATEGORIES)] | None = (
        None
    )
    surface: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    time: Moment | None = None
    explore: bool = True
    record: bool = True

    @model_validator(mode="after")
    def _someone(self) -> Ask:
        if self.user_id is None and self.history is None:
            raise ValueError("user_id or history is needed")
        return self

    @model_validator(mode="after")
    def _candidates_as_they_are(self) -> Ask:
        if self.candidates is None:
            return self
        if self.exclude or self.categories:
            raise ValueError(
                "candidates are ranked as they are; exclude and categories go with the whole "
                "catalogue"
            )
        twice = [item for item, count in Counter(self.candidates).items() if count > 1]
        if twice:
            raise ValueError(f"candidates names {twice[0]!r:.60} twice")
        return self

    @property
    def wanted(self) -> int:
        """How many items are wanted at most."""
        if self.candidates is None or "k" in self.model_fields_set:
            return self.k
        return len(self.candidates)

    @property
    def events(self) -> Events | None:
        """The history that came along, oldest first, or None if the store shall be asked."""
        if self.history is None:
            return None
        ordered = sorted(self.history, key=lambda event: event.time)
        return Events(
            [event.item_id for event in ordered],
            [event.action for event in ordered],
            [event.time for event in ordered],
            [float("nan") if event.value is None else event.value for event in ordered],
            surfaces=[event.surface or "" for event in ordered],
        )


class Asks(_Strict):
    """The body of a V1 request."""

    instances: Annotated[list[Ask], Field(min_length=1, max_length=MAXIMUM_ASKS)]


def parse(body: Any) -> list[Ask]:
    """Read the body of a V1 request.

    Args:
        body: the decoded JSON, or the bytes of it: KServe decodes them only if the content type
            says so, which that of `curl -d` doesn't.

    Raises:
        InvalidAskError: a key or a value is wrong; every one is named, with its path.
    """
    if isinstance(body, bytes):
        with suppress(ValueError):
            body = json.loads(body)
    if not isinstance(body, dict):
        raise InvalidAskError('send JSON: {"instances": [{"user_id": "42", "k": 10}]}')
    try:
        return Asks.model_validate(body).instances
    except ValidationError as error:
        lines = [f"{_path(e['loc'])}: {_reason(e)}" for e in error.errors(include_url=False)]
        more = f" (and {len(lines) - 5} more)" if len(lines) > 5 else ""
        raise InvalidAskError("; ".join(lines[:5]) + more) from None


def _path(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "request"


def _reason(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "missing"
    text = str(error["msg"]).removeprefix("Value error, ")
    given = error["input"]
    return f"{text} (got {given!r:.60})" if isinstance(given, str | int | float) else text
