"""Publishing the sequences of a log that is larger than memory.

Events go from Parquet files through buckets of users into the snapshot, and the snapshot batch by
batch into the online store: nothing is ever held as a whole. `feature_repo.store.publish` does the
same for all views of a log that fits into memory.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.freshness import now_ms, place_of, record
from feature_repo.locations import Lane, project_name
from feature_repo.merging import STREAMED, merge_of, remainder_of
from feature_repo.offline import write_snapshot_batches
from feature_repo.profile import read_profile
from feature_repo.store import taking_turns
from feature_repo.stores import open_online
from feature_repo.stores.online_store import Written, replace
from feature_repo.stores.stamps import moment
from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.buckets import parts, paths_of
from recommender.features.build import catalogue_order
from recommender.features.freshness import Freshness
from recommender.features.snapshots import KEYS
from recommender.features.streaming_build import BATCH_ROWS, Wanted, latest_sequences
from recommender.storage import is_s3
from recommender.tables import EVENTS


@dataclass
class Counted:
    """What went by: users, their events, and the time of the newest one (ms)."""

    users: int = 0
    events: int = 0
    newest: int | None = None

    def passing(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches of `user_sequence` as they are."""
        for batch in batches:
            times = batch["times"]
            self.users += batch.num_rows
            self.events += len(times.flatten())
            newest = pc.max(times.flatten()).as_py()
            if newest is not None:
                self.newest = newest if self.newest is None else max(self.newest, newest)
            yield batch


@dataclass(frozen=True)
class PublishedLog:
    """What was published.

    Attributes:
        users: who have a sequence.
        events: in all sequences together.
        written: what became of the rows online.
        removed: rows of users who are in no snapshot any more.
        built_s: seconds from the events to the snapshot.
        brought_s: seconds from the snapshot to the online store.
    """

    users: int
    events: int
    written: Written
    removed: int
    built_s: float
    brought_s: float


def publish_log(
    config: Config,
    events: Path | Sequence[Path],
    items: pa.Table,
    as_of_ms: int,
    lane: Lane,
    data_version: str = "",
) -> PublishedLog:
    """Publish everybody's sequence as of a moment, in bounded memory.

    Only `user_sequence` is touched. In the live lane the snapshot holds what has landed from the
    stream, and what arrives from now on stays on top of it. Feast's own record of materializations
    is left alone; the freshness of the view is recorded.

    Args:
        config: the whole configuration; `features.build` says on which engine.
        events: canonical events, one Parquet file or several.
        items: the canonical items.
        as_of_ms: UTC milliseconds; only events strictly before it are seen.
        lane: `live` or `rehearsal`.
        data_version: of the events, for the record of freshness.

    Raises:
        FeatureError: an event names an unknown item or type; the store can't be reached or
            written.
        StorageError: a file can't be read, or the disk is full. What was published is still there.
    """
    project, paths, view = project_name(config, lane), config.paths, STREAMED
    live = lane == "live"
    paths.features.mkdir(parents=True, exist_ok=True)
    # Beside the features and not on the system's disk: it holds user ids, and as much as the log.
    # What a killed process leaves has the name that forgetting sweeps away.
    scratching = tempfile.TemporaryDirectory(prefix=".publish.", dir=paths.features)
    with taking_turns(paths), scratching as scratch:
        started, created = time.monotonic(), datetime.now(UTC)
        if live:
            events, created = _with_landed(config, events, items, created, Path(scratch))
        wanted = Wanted.by(config, catalogue_order(items), as_of_ms, created)
        location = read_profile().offline_location(paths.features, project)
        counted = Counted()
        built = latest_sequences(events, wanted, config.features.build, Path(scratch))
        snapshot = write_snapshot_batches(location, view, counted.passing(built))
        half = time.monotonic()
        limit = config.features.history_limit
        # One machine has one clock.
        skew = 0 if read_profile().embedded else config.features.stream.clock_skew_ms
        merge = merge_of(view, limit, skew) if live else None
        remainder = remainder_of(view, limit, created, skew) if live else None
        with closing(open_online(paths, project)) as online:
            written = online.write(view, KEYS[view], _read(snapshot), merge or replace)
            if written.stale:
                raise FeatureError(
                    f"{written.stale} of {counted.users} rows of {view} were left out: a "
                    f"publication that began later than {created:%Y-%m-%d %H:%M:%S} UTC was here "
                    "first",
                    "publish again",
                )
            removed = online.retain(view, KEYS[view], created, remainder)
        seconds = time.monotonic() - half
        told = (round(seconds, 3), data_version, counted.newest)
        fresh = Freshness(view, as_of_ms, now_ms(), counted.users, *told)
        record(place_of(paths, project), [fresh])
    return PublishedLog(counted.users, counted.events, written, removed, half - started, seconds)


def _with_landed(
    config: Config,
    events: Path | Sequence[Path],
    items: pa.Table,
    created: datetime,
    scratch: Path,
) -> tuple[Path | Sequence[Path], datetime]:
    """Add a file of the streamed events that the log does not hold; return also the watermark.

    As in `feature_repo.stream.union` the log's own copy of an event wins, and an event waits for
    its item.
    """
    from feature_repo.stream.opening import landing_of

    landed = landing_of(config).read()
    new = landed.events.select(EVENTS.names)
    if not new.num_rows:
        return events, created
    ids = new["event_id"].combine_chunks()
    held = [
        part["event_id"].filter(pc.is_in(part["event_id"], value_set=ids))
        for part in parts(events, columns=["event_id"])
    ]
    known = pa.chunked_array([chunk for each in held for chunk in each.chunks], pa.string())
    typed = pc.is_in(new["event"], pa.array(config.actions.types, pa.string()))
    sold = pc.is_in(new["item_id"], items["item_id"].combine_chunks())
    fresh = pc.and_not(pc.and_(typed, sold), pc.is_in(new["event_id"], known.combine_chunks()))
    path = scratch / "landed.parquet"
    pq.write_table(new.filter(fresh).cast(EVENTS), path)
    return [*paths_of(events), path], min(created, moment(landed.read_ms * 1000))


def _read(snapshot: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a snapshot, at least one."""
    from pyarrow.fs import FileSystem, LocalFileSystem

    files, place = (
        FileSystem.from_uri(snapshot) if is_s3(snapshot) else (LocalFileSystem(), snapshot)
    )
    with files.open_input_file(place) as source, pq.ParquetFile(source) as file:
        empty = True
        for batch in file.iter_batches(BATCH_ROWS):
            empty = False
            yield batch
        if empty:
            yield pa.RecordBatch.from_pylist([], file.schema_arrow)
