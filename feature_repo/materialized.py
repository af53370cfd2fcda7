"""Freshness of what Feast's own program materializes, taken down as the rows go by."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.freshness import Place, now_ms, read, record
from feature_repo.stores.rows import CREATED, EVENT
from recommender.features.freshness import Freshness

_NEWEST = {"user_sequence": "times", "user_activity": "last_event_ms"}
"""Where the views that events go into hold their times."""


@dataclass
class Watched:
    """Batches of one view on their way into the online store.

    Attributes:
        view: its name.
        rows: so far.
        as_of_ms: the latest moment as of which a row is, UTC milliseconds.
        read_ms: when the reading of the latest snapshot began, UTC milliseconds.
        newest_event_ms: the latest event in the rows, where they hold times.
    """

    view: str
    rows: int = 0
    as_of_ms: int = 0
    read_ms: int = 0
    newest_event_ms: int | None = None

    def __post_init__(self) -> None:
        self._started = time.monotonic()

    def passing(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the batches as they come."""
        for batch in batches:
            self._look(batch)
            yield batch

    def record(self, place: Place) -> None:
        """Keep what was seen; of nothing, nothing: an interval without rows makes nothing newer.

        Raises:
            StorageError, FeatureError: it can't be written.
        """
        if not self.rows:
            return
        before = read(place).get(self.view)
        newest = self.newest_event_ms
        if newest is None and before is not None:
            newest = before.newest_event_ms
        published = Freshness(
            view=self.view,
            as_of_ms=self.as_of_ms,
            published_ms=now_ms(),
            rows=self.rows,
            seconds=round(time.monotonic() - self._started, 3),
            data_version=before.data_version if before else "",
            newest_event_ms=newest,
            read_ms=self.read_ms or None,
        )
        record(place, [published])

    def _look(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        names = batch.schema.names
        self.as_of_ms = max(self.as_of_ms, _latest_ms(batch.column(EVENT)))
        if CREATED in names:
            self.read_ms = max(self.read_ms, _latest_ms(batch.column(CREATED)))
        held = _NEWEST.get(self.view)
        if held in names:
            column = batch.column(held)
            times = pc.list_flatten(column) if pa.types.is_nested(column.type) else column
            newest = pc.max(times).as_py()
            if newest is not None:
                self.newest_event_ms = max(self.newest_event_ms or int(newest), int(newest))


def _latest_ms(column: pa.Array) -> int:
    latest = pc.max(column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False))
    return int(latest.cast(pa.int64()).as_py() or 0)
