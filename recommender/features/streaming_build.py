"""The latest sequences of every user, of a log of any size, in bounded memory.

A log is divided by user into buckets; each goes through the same `EventLog` that training uses.
So memory grows with the bucket, and the rows are those of `recommender.features.latest.sequences`
over the whole log, bucket by bucket. A log that fits into one bucket is not divided at all.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.config.build import BuildConfig
from recommender.errors import FeatureError
from recommender.features.buckets import (
    MOST,
    ROWS,
    Events,
    count_rows,
    parts,
    spill,
    spilled,
    whole,
)
from recommender.features.latest import sequences, stamped
from recommender.features.sequences import Catalogue, EventLog

BATCH_ROWS = 10_000
"""Users in a batch of rows, at most."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a log, whichever engine answers.

    Attributes:
        catalogue: the items.
        actions: which event types there are, and which make histories.
        limit: most recent events kept.
        as_of: UTC milliseconds; only events strictly before it are seen.
        created: when the reading of the events began.
    """

    catalogue: Catalogue
    actions: ActionsConfig
    limit: int
    as_of: int
    created: datetime

    @classmethod
    def by(cls, config: Config, items: pa.Table, as_of: int, created: datetime) -> Wanted:
        """Say what a configuration asks for.

        Args:
            config: the whole configuration.
            items: the canonical items in catalogue order.
            as_of: UTC milliseconds.
            created: when the reading of the events began.
        """
        catalogue = Catalogue(tuple(items["item_id"].to_pylist()))
        return cls(catalogue, config.actions, config.features.history_limit, as_of, created)

    def of(self, events: pa.Table) -> pa.Table:
        """Return the rows of `user_sequence` of all users in a table of events.

        Args:
            events: canonical, with all events of whoever is in it.

        Raises:
            FeatureError: an event names an item or a type that isn't known, or has no user or
                no time.
        """
        log = EventLog.build(events, self.catalogue, self.actions, event_ids=True)
        histories = log.of_types(self.actions.histories, self.actions)
        items = self.catalogue.array
        kinds, surfaces = self.actions.types, self.actions.surfaces
        rows = sequences(histories, items, kinds, self.as_of, self.limit, surfaces)
        return stamped(rows, self.as_of, self.created)


def latest_sequences(
    events: Events,
    wanted: Wanted,
    build: BuildConfig | None = None,
    scratch: Path | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield everybody's history as of a moment.

    Args:
        events: canonical events, a table or Parquet files, in any order.
        wanted: what is asked.
        build: the engine, and how much it holds at a time; the defaults if None.
        scratch: an existing folder for the buckets of a log that is divided, which hold user ids;
            the system's temporary folder if None.

    Yields:
        Rows of `user_sequence` with `event_timestamp` and `created`, at least one batch, which
        may be empty. Each user comes once; the order depends on the number of buckets.

    Raises:
        FeatureError: an event names an item or a type that isn't known, or has no user or no
            time; or the engine isn't there.
        StorageError: a file can't be read, or the disk is full.
    """
    build = build or BuildConfig()
    buckets = bucket_count(count_rows(events), build.events_per_bucket)
    if build.engine == "ray":
        from recommender.features.ray_build import ray_tables

        tables = ray_tables(events, wanted, buckets, build)
    elif buckets == 1:
        tables = iter([wanted.of(whole(events))])
    else:
        tables = _out_of_core(events, wanted, buckets, min(ROWS, build.events_per_bucket), scratch)
    for table in tables:
        yield from table.to_batches(max_chunksize=BATCH_ROWS) or _empty(table)


def bucket_count(events: int, each: int) -> int:
    """Return how many buckets a log is divided into.

    Raises:
        FeatureError: more than there can be.
    """
    count = max(1, math.ceil(events / each))
    if count > MOST:
        raise FeatureError(
            f"{events} events make {count} buckets of {each}; {MOST} are possible",
            "set features.build.events_per_bucket higher",
        )
    return count


def _out_of_core(
    events: Events, wanted: Wanted, buckets: int, rows: int, scratch: Path | None
) -> Iterator[pa.Table]:
    with tempfile.TemporaryDirectory(prefix="ostinato-buckets-", dir=scratch) as folder:
        for path in spill(parts(events, rows), buckets, Path(folder)):
            if path.exists():
                # No name for the bucket: it is let go before its rows are taken.
                yield wanted.of(spilled(path))
                path.unlink()


def _empty(table: pa.Table) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist([], table.schema)]
