"""What every online store can do, whichever server or file holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""The features of one entity by name; lists as Python lists, null as None. Functions that change
rows are also given `event_timestamp` and `created`, datetimes in UTC."""

Merge = Callable[[Row, Row], Row]
"""Makes one row of (snapshot row, stored row)."""


def replace(snapshot: Row, stored: Row) -> Row:
    """Let the snapshot win, however new the stored row is; a `Merge` that costs nothing."""
    del stored
    return snapshot


@dataclass(frozen=True)
class Written:
    """What became of the rows of a write.

    Attributes:
        rows: written.
        merged: of them, combined with what the store held because it was newer.
        stale: left out, because the store or the same write holds a newer row of that entity.
    """

    rows: int = 0
    merged: int = 0
    stale: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.rows + other.rows, self.merged + other.merged, self.stale + other.stale)


class OnlineStore(Protocol):
    """The rows of one Feast project, by view and entity, in Feast's own layout.

    Whatever is written here the SDK reads, value for value, and the other way round. A row is
    always whole: readers see the old or the new one, never parts of both.

    A view's `ttl` is not applied: a row stays until it is replaced or removed, because snapshots
    are as of a moment of the log and not of the clock. Freshness is recorded and checked apart.
    """

    def declare(self, view: str, key: str, kinds: Mapping[str, str]) -> None:
        """Make a view known; what it holds stays. Whoever applies definitions calls it.

        Args:
            view: name of the feature view.
            key: its join key.
            kinds: by feature, one of `feature_repo.wire.KINDS`.

        Raises:
            FeatureError: the store can't be written, or a kind isn't known.
        """
        ...

    def views(self) -> list[str]:
        """Return the names of the views that the store knows, sorted.

        Raises:
            FeatureError: the store can't be read.
        """
        ...

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
        """Yield the ids of a view, in no order, in bounded memory.

        One that is written meanwhile may be missing, or come twice.

        Raises:
            FeatureError: the store can't be read, or lacks this view.
        """
        ...

    def write(
        self,
        view: str,
        key: str,
        batches: Iterable[pa.RecordBatch],
        merge: Merge | None = None,
    ) -> Written:
        """Write snapshot rows, in bounded memory, unless the store holds newer ones.

        A row's age is its `event_timestamp`; of equal ones the later `created` wins, and of equal
        `created` the one written last. That is checked and done in one step for each row, so that
        nobody's newer row is lost in between.

        Args:
            view: name of the feature view.
            key: its join key.
            batches: rows with the key (text), every feature and `event_timestamp`; and `created`,
                without which they are taken as made at their `event_timestamp`.
            merge: called with (snapshot row, stored row) where the stored one is newer by
                `event_timestamp` or not older by `created` (an update, say); what it returns is
                written, as made now. Without it such a snapshot row is left out as stale. With
                it, only those are stale whose stored row already stands on a snapshot of a later
                `created`, or of the same one and is not older. It may be called more than once
                for a row. See `replace`.

        Raises:
            FeatureError: the store can't be written, or a row has no id or no moment, a list
                holds a null, or a column's type can't be kept. Each row is the old or the new
                one, and a second call finishes the work.
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
                new one, or None to leave it as it is. The new row has `event_timestamp`, a
                datetime; `created` is now unless it says otherwise; features that it doesn't name
                stay as they are. It may be called more than once.

        Raises:
            FeatureError: the store can't be read or written, or the view was never declared or
                written. Each row is the old or the new one.
        """
        ...

    def remove(self, view: str, key: str, ids: Iterable[str]) -> int:
        """Remove rows; return how many there were.

        Raises:
            FeatureError: the store can't be written.
        """
        ...

    def retain(
        self,
        view: str,
        key: str,
        since: datetime,
        remainder: Callable[[Row], Row | None] | None = None,
    ) -> int:
        """Remove the rows that no snapshot created at `since` or later has held.

        Args:
            view: name of the feature view.
            key: its join key.
            since: `created` of the latest snapshot.
            remainder: given such a row, returns what is to be kept of it (what was streamed since,
                say), or None; by default nothing is. It may be called more than once.

        Returns:
            How many were removed.

        Raises:
            FeatureError: the store can't be read or written.
        """
        ...

    def drop(self, view: str) -> None:
        """Remove a view with all its rows; an unknown one is fine.

        Raises:
            FeatureError: the store can't be written.
        """
        ...

    def close(self) -> None:
        """Close every connection; the store can't be used any more."""
        ...
