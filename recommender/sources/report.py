"""What happened to the raw rows on their way in: nothing is left out silently."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SourceFile:
    """A raw file that was read.

    Attributes:
        name: its name within the location.
        location: where it came from, without credentials and query.
        sha256: of its bytes as read (after unpacking a zip).
        size: bytes.
    """

    name: str
    location: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Dropped:
    """Rows that were left out.

    Attributes:
        table: events, items, users or follows.
        reason: in words.
        count: rows.
        example: the first such row: where it is and what it says.
    """

    table: str
    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class Unreadable:
    """Cells that could not be read as what their column should hold, and are null now.

    Attributes:
        table: events, items, users or follows.
        column: the raw column.
        wanted: what it should hold ("a number").
        count: cells.
        example: the first such cell and where it is.
    """

    table: str
    column: str
    wanted: str
    count: int
    example: str


@dataclass
class IngestReport:
    """The way from raw rows to canonical ones.

    Attributes:
        files: raw files that were read.
        rows_read: raw rows by table.
        rows_kept: canonical rows by table.
        dropped: rows that were left out, by reason.
        unreadable: cells that became null.
        notes: anything else that a person should know.
    """

    files: list[SourceFile] = field(default_factory=list)
    rows_read: dict[str, int] = field(default_factory=dict)
    rows_kept: dict[str, int] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, table: str, reason: str, count: int, example: str) -> None:
        """Record rows that were left out; none is not worth a record."""
        if count:
            self.dropped.append(Dropped(table, reason, count, example))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> IngestReport:
        """Read what `to_dict` wrote."""
        return cls(
            [SourceFile(**file) for file in value["files"]],
            dict(value["rows_read"]),
            dict(value["rows_kept"]),
            [Dropped(**dropped) for dropped in value["dropped"]],
            [Unreadable(**cells) for cells in value["unreadable"]],
            list(value["notes"]),
        )
