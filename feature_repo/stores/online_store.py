"""What every online store can do, whichever server or file holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]
"""The features of one entity by name; lists as Python lists, null as None."""


@dataclass(frozen=True)
class Written:
    """What became of the rows of a write.

    Attributes:
        rows: written.
        merged: of them, combined with what the store held because it was newer.
        stale: left out, because the store holds a newer row of the same entity.
    """

    rows: int
    merged: int
    stale: int


class OnlineStore(Protocol):
    """The rows of one Feast project, by view and entity, in Feast's own layout.

    Whatever is written here the SDK reads, value for value, and the other way round. A row is
    always whole: readers see the old or the new one, never parts of both.
    """

    def rows(
        self, view: str, key: str, ids: Sequence[str], features: Sequence[str] | None = None
    ) -> list[Row | None]:
        """Return rows in the order of `ids`; None for an unknown id.

        Args:
            view: name of the feature view.
            key: its join key.
            ids: values of the join key.
            features: names of those that are read; all by default.

        Raises:
            FeatureError: the store can't be read, or lacks this view.
        """
        ...

    def ids(self, view: str) -> Iterator[str]:
        """Yield the ids of a view, in no order, in bounded memory."""
        ...

    def write(
        self,
        view: str,
        key: str,
        batches: Iterable[pa.RecordBatch],
        merge: Callable[[Row, Row], Row] | None = None,
    ) -> Written:
        """Write snapshot rows, unless the store holds newer ones.

        A row's age is its `event_timestamp`; of equal ones the later `created` wins.

        Args:
            view: name of the feature view.
            key: its join key.
            batches: rows with the key, every feature, `event_timestamp` and `created`.
            merge: called with (snapshot row, stored row) where the stored one is newer; what it
                returns is written. Without it such a snapshot row is left out as stale.

        Raises:
            FeatureError: the store can't be written. Each row is the old or the new one, and a
                second call finishes the work.
        """
        ...

    def update(
        self, view: str, key: str, changes: Mapping[str, Callable[[Row | None], Row | None]]
    ) -> None:
        """Read, change and write rows so that no concurrent change of the same row is lost.

        Args:
            view: name of the feature view.
            key: its join key.
            changes: by id, a function of the stored row (None if there is none) that returns the
                new one (with `event_timestamp` and `created` as datetimes), or None to leave it
                as it is. It may be called more than once.

        Raises:
            FeatureError: the store can't be read or written.
        """
        ...

    def remove(self, view: str, key: str, ids: Iterable[str]) -> int:
        """Remove rows; return how many there were."""
        ...

    def close(self) -> None:
        """Close every connection; the store can't be used any more."""
        ...
