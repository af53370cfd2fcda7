"""Streamed events as they landed offline: append-only, small Parquet files in one folder.

Every micro-batch is one new file, written whole: its name says when it landed. Nothing is ever
changed in place. An event that is delivered again lands again; whoever reads takes the first
delivery of each event id. `compact` joins files: it writes the joined one before it removes the
parts, so that a reader may meet an event twice but never misses it.

The folder is the batch source of the view `user_event`, so Feast's own historical queries see the
same rows (there, too, an event may occur twice until it is compacted).
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.stream.event import StreamEvent
from recommender.errors import FeatureError, StorageError
from recommender.storage import Entry, open_store
from recommender.storage.store import is_s3
from recommender.tables import EVENTS, TIME

LANDED = EVENTS.append(pa.field("arrival", TIME, nullable=False))
"""The canonical columns of events, and when each arrived."""

FOLDER = "user_event"
"""Below the project's offline location."""

_SMALL_BYTES = 32 * 2**20
"""Files of this size are left alone: joining them again and again would cost more than it helps."""

_SCHEMA_FILE = "0-schema.parquet"
"""Has no rows: Feast and DuckDB read the columns from it before anything has landed."""


class Landed(NamedTuple):
    """What had landed when somebody looked.

    Attributes:
        events: as `LANDED` says, the first delivery of each event id, sorted by (time, event_id).
        read_ms: when the looking began, UTC milliseconds: the watermark of what is built from it.
        repeated: further deliveries that were left out.
        conflicting: different contents that were left out with them: another event under an id
            that was taken.
    """

    events: pa.Table
    read_ms: int
    repeated: int
    conflicting: int


class Landing:
    """The landed events of one Feast project; safe to share between threads and processes.

    Args:
        location: the project's offline location (`Profile.offline_location`): a folder or an
            `s3://` prefix.
    """

    def __init__(self, location: str) -> None:
        self.location = f"{location.rstrip('/')}/{FOLDER}"
        self._store = open_store(self.location)
        self._prepared = False

    def prepare(self) -> None:
        """Make the folder readable for Feast before the first event; a second time does nothing.

        Raises:
            StorageError: it can't be written.
        """
        if not self._prepared and not self._store.exists(_SCHEMA_FILE):
            self._store.write_bytes(_SCHEMA_FILE, _parquet(LANDED.empty_table()))
        self._prepared = True

    def land(self, events: Sequence[StreamEvent], arrival_ms: int) -> None:
        """Write events as one new file; when this returns they survive a crash.

        Args:
            events: in the order of delivery.
            arrival_ms: when they arrived, UTC milliseconds.

        Raises:
            StorageError: it can't be written (disk full, not reachable); nothing of it is seen.
        """
        if not events:
            return
        self.prepare()
        self._write(_name("e", arrival_ms), _table(events, arrival_ms))

    def read(self) -> Landed:
        """Read everything that has landed.

        Raises:
            StorageError: a file can't be read.
            FeatureError: a file is damaged, or isn't one of ours.
        """
        began = time.time_ns() // 1_000_000
        for _ in range(20):
            # Whoever compacts meanwhile removes files only after their events are in another one.
            with contextlib.suppress(_GoneError):
                return _first_deliveries(self._tables(self._files()), began)
        raise StorageError(
            f"the files of {self.location} change faster than they can be read", "try again"
        )

    def files(self) -> int:
        """Return how many files of events there are.

        Raises:
            StorageError: the place can't be listed.
        """
        return len(self._files())

    def compact(self) -> int:
        """Join the small files into one, without repeated deliveries; return how many it replaces.

        Several may do so at once, and events may land meanwhile.

        Raises:
            StorageError, FeatureError: as for `read`; nothing is lost.
        """
        with self._alone():
            entries = [entry for entry in self._files() if entry.size < _SMALL_BYTES]
            if len(entries) < 2:
                return 0
            try:
                joined = _first_deliveries(self._tables(entries), 0).events
            except _GoneError:
                return 0  # somebody else is at it
            last = max(entry.key.split("-")[1] for entry in entries)
            self._write(_name("c", int(last)), joined)
            for entry in entries:
                self._store.delete(entry.key)
            return len(entries)

    def remove(self, user_ids: Iterable[str]) -> int:
        """Remove every event of some users; return how many events that were.

        On S3 stop the consumers first: one that compacts meanwhile could bring events back.

        Raises:
            StorageError, FeatureError: as for `read`; a second call finishes the work.
        """
        gone = pa.array(sorted(set(user_ids)), pa.string())
        removed = 0
        with self._alone():
            for entry in self._files():
                table = self._table(entry)
                theirs = pc.is_in(table["user_id"], value_set=gone)
                if not (count := pc.sum(theirs).as_py() or 0):
                    continue
                kept = table.filter(pc.invert(theirs))
                if kept.num_rows:
                    self._write(_name("c", int(entry.key.split("-")[1])), kept)
                self._store.delete(entry.key)
                removed += count
        return removed

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one rewrite into a folder at a time; events land meanwhile all the same."""
        if is_s3(self.location):
            yield
            return
        self.prepare()
        with (Path(self._store.location) / ".rewrite.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _files(self) -> list[Entry]:
        return [
            entry
            for entry in self._store.list()
            if entry.key.endswith(".parquet") and entry.key.startswith(("e-", "c-"))
        ]

    def _tables(self, entries: Iterable[Entry]) -> list[pa.Table]:
        return [self._table(entry) for entry in entries]

    def _table(self, entry: Entry) -> pa.Table:
        try:
            data = self._store.read_bytes(entry.key)
        except StorageError as error:
            if self._store.exists(entry.key):
                raise
            raise _GoneError(entry.key) from error
        try:
            return pq.read_table(io.BytesIO(data)).select(LANDED.names).cast(LANDED)
        except (pa.ArrowInvalid, KeyError, ValueError, OSError) as error:
            raise FeatureError(
                f"{self.location}/{entry.key} does not hold landed events: {error}",
                "move it away: it is damaged, or somebody else wrote it there",
            ) from error

    def _write(self, name: str, table: pa.Table) -> None:
        self._store.write_bytes(name, _parquet(table))
        if not is_s3(self.location):
            _keep_name(Path(self._store.location))


class _GoneError(Exception):
    """A file was removed between the listing and the reading."""


def _name(kind: str, moment_ms: int) -> str:
    """Return a new file name; names sort by the moment of landing."""
    return f"{kind}-{moment_ms:015}-{secrets.token_hex(6)}.parquet"


def _keep_name(folder: Path) -> None:
    """Flush a folder: after a power cut a file without its name in it would be lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=table.num_rows > 10_000)
    return sink.getvalue()


def _table(events: Sequence[StreamEvent], arrival_ms: int) -> pa.Table:
    columns = zip(*events, strict=True)
    arrays = [
        pa.array(column, pa.int64()).cast(field.type)
        if field.name == "time"
        else pa.array(column, field.type)
        for column, field in zip(columns, EVENTS, strict=True)
    ]
    arrivals = pa.array([arrival_ms] * len(events), pa.int64()).cast(TIME)
    return pa.table([*arrays, arrivals], LANDED)


def _first_deliveries(tables: list[pa.Table], read_ms: int) -> Landed:
    """Take the first delivery of each event id: by arrival, then by file, then by row."""
    every = pa.concat_tables([LANDED.empty_table(), *tables]).combine_chunks()
    place = pa.array(range(every.num_rows), pa.int64())
    order = pc.sort_indices(
        pa.table({"arrival": every["arrival"], "place": place}),
        [("arrival", "ascending"), ("place", "ascending")],
    )
    ordered = every.take(order).append_column("place", place)
    firsts = ordered.group_by("event_id").aggregate([("place", "min")])["place_min"]
    kept = ordered.take(firsts).select(LANDED.names)
    repeated = every.num_rows - kept.num_rows
    told = ordered.group_by(EVENTS.names).aggregate([]).num_rows if repeated else kept.num_rows
    kept = kept.sort_by([("time", "ascending"), ("event_id", "ascending")]).cast(LANDED)
    return Landed(kept, read_ms, repeated, told - kept.num_rows)
