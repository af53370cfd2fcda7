"""What was seen of each request, in a journal that survives being killed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from recommender.errors import StorageError
from recommender.files import atomic_file
from serving.rollout.lines import Lines


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


class Journal:
    """Records of one rollout, appended and never changed.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)

    def append(self, records: Iterable[Record]) -> None:
        """Write records to disk, in one go.

        Raises:
            StorageError: the disk is full or the folder can't be written.
        """
        self._lines.append(asdict(record) for record in records)

    def read(self) -> list[Record]:
        """Return all records, each request once, in the order in which they were written.

        Raises:
            StorageError: a line in the middle is damaged.
        """
        found: dict[tuple[str, str, Tells], Record] = {}
        try:
            for told in self._lines.read():
                tells = Tells(told.get("tells", Tells.ALL))
                record = Record(**{**told, "arm": Arm(told["arm"]), "tells": tells})
                found.setdefault((record.user, record.request, tells), record)
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(f"{self._lines.path} is damaged: {error}") from error
        return list(found.values())

    def copy(self, path: Path) -> None:
        """Write the same records to another file, atomically."""
        with atomic_file(path) as temporary:
            Journal(temporary).append(self.read())
            temporary.chmod(0o644)
