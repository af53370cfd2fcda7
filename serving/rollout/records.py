"""What was seen of each request, in a journal that survives being killed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from serving.rollout.lines import Entries


class Arm(StrEnum):
    """Who answered."""

    STABLE = "stable"
    CANDIDATE = "candidate"


class Tells(StrEnum):
    """What a record tells of."""

    ALL = "all"
    """The answer and what followed from it."""

    ANSWER = "answer"
    """Only the answer: whether it came, and when; `hit` is None."""

    OUTCOME = "outcome"
    """Only what followed: `hit`; the answer was told of by another record."""


@dataclass(frozen=True)
class Record:
    """One request and its answer.

    Attributes:
        user: a pseudonym.
        step: index into the plan's steps.
        arm: who answered, or should have.
        version: of the model behind that arm.
        status: of HTTP; 0 where no answer came.
        latency_ms: as the client saw it.
        hit: whether a success item was recommended; None where nothing followed that could tell,
            and False where the request failed.
        fallback: why the answer was made without a history, or None.
        error: what was wrong with the answer, "" for a good one.
        request: names the request where a user makes several; "" where each makes one.
        tells: what this record tells of.
        time: of the request, UTC milliseconds; 0 where it doesn't matter.
    """

    user: str
    step: int
    arm: Arm
    version: str
    status: int
    latency_ms: float
    hit: bool | None
    fallback: str | None = None
    error: str = ""
    request: str = ""
    tells: Tells = Tells.ALL
    time: int = 0

    @property
    def failed(self) -> bool:
        """Whether the request has failed."""
        return bool(self.error)


class Journal(Entries[Record]):
    """Records of one rollout, each request once.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _record, lambda one: (one.user, one.request, one.tells))


def _record(told: dict[str, Any]) -> Record:
    tells = Tells(told.get("tells", Tells.ALL))
    return Record(**{**told, "arm": Arm(told["arm"]), "tells": tells})
