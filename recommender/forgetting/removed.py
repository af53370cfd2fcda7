"""How much was taken out of a place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Removed:
    """What was taken out.

    Attributes:
        records: rows, entries and lines.
        files: written again or removed.
    """

    records: int = 0
    files: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.records + other.records, self.files + other.files)

    def __bool__(self) -> bool:
        return bool(self.records or self.files)


NOTHING = Removed()
