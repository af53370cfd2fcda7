"""Files of served lists and feedback: small ones as they come, one per finished day later.

    <location>/served/2026-01-31/e-<ms>-<random>.parquet     rows as `recommender.served.SERVED`
    <location>/feedback/2026-01-31/e-<ms>-<random>.parquet   rows as `recommender.served.FEEDBACK`
    <location>/failed/2026-01-31/e-<ms>-<random>.parquet     rows as `recommender.served.FAILED`
    …/c-<ms>-<random>.parquet                                files of one day, joined

A location is a folder or `s3://bucket/prefix`. Every file is written whole and never changed in
place. `compact` writes the joined file before it removes the parts, so a reader may meet a row
twice, which `recommender.served` sees to, but never misses one.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recommender.config.served_log import ServedLogConfig
from recommender.errors import StorageError
from recommender.served import (
    FAILED,
    FEEDBACK,
    SERVED,
    distinct_failed,
    distinct_feedback,
    distinct_served,
)
from recommender.storage import Entry, Store, is_s3, open_store
from recommender.workspace import Workspace

Rows = Callable[[pa.Table], pa.Array]
_TRIES = 20


class _Kind(NamedTuple):
    schema: pa.Schema
    moment: str
    distinct: Callable[[pa.Table], pa.Table]


KINDS = {
    "served": _Kind(SERVED, "time", distinct_served),
    "feedback": _Kind(FEEDBACK, "received", distinct_feedback),
    "failed": _Kind(FAILED, "time", distinct_failed),
}
"""The tables, and the column whose day a row belongs to."""


class ServedStore:
    """The served lists and the feedback of one data set; safe to share between processes.

    Args:
        location: a folder or `s3://bucket/prefix`; nothing is made or contacted yet.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location).rstrip("/")
        self._stores = {kind: open_store(f"{self.location}/{kind}") for kind in KINDS}

    def write(self, kind: str, table: pa.Table) -> None:
        """Write rows, a file per day in them; when this returns they survive a crash.

        Args:
            kind: of `KINDS`.
            table: of its schema.

        Raises:
            StorageError: it can't be written; of the days before it something may be.
        """
        days = _days(table[KINDS[kind].moment])
        for day in pc.unique(days).to_pylist():
            self._write(kind, day, "e", table.filter(pc.equal(days, day)))

    def read(self, kind: str, since_ms: int | None = None) -> pa.Table:
        """Read everything, each row once, sorted by time.

        Args:
            kind: of `KINDS`.
            since_ms: leave out what is older, UTC milliseconds.

        Raises:
            StorageError: a file can't be read or is damaged.
        """
        first = "" if since_ms is None else _day(since_ms)
        for _ in range(_TRIES):
            # Whoever compacts meanwhile removes files only after their rows are in another one.
            with contextlib.suppress(_GoneError):
                return self._read(kind, first, since_ms)
        raise StorageError(
            f"the files of {self.location}/{kind} change faster than they can be read", "try again"
        )

    def compact(self, kind: str, before: str | None = None) -> int:
        """Join the files of every day before `before`; return how many files are replaced.

        Args:
            kind: of `KINDS`.
            before: a day (`2026-01-31`); None: today, UTC.

        Raises:
            StorageError: a file can't be read or written; nothing is lost.
        """
        limit = before or _day(time.time_ns() // 1_000_000)
        replaced = 0
        by_day: dict[str, list[Entry]] = {}
        for entry in self._entries(kind):
            by_day.setdefault(_day_of(entry), []).append(entry)
        for day, entries in by_day.items():
            if day >= limit or len(entries) < 2:
                continue
            try:
                tables = [self._table(kind, entry) for entry in entries]
            except _GoneError:
                continue  # somebody else is at it
            self._write(kind, day, "c", KINDS[kind].distinct(pa.concat_tables(tables)))
            for entry in entries:
                self._stores[kind].delete(entry.key)
            replaced += len(entries)
        return replaced

    def remove(self, kind: str, theirs: Rows) -> tuple[int, int]:
        """Remove rows for good, old versions of their files included.

        Args:
            kind: of `KINDS`.
            theirs: says which rows of a table go, as booleans.

        Returns:
            how many rows and how many files were concerned.

        Raises:
            StorageError: a file can't be read, written or removed; a second call goes on.
        """
        rows = files = 0
        for entry in self._entries(kind):
            try:
                table = self._table(kind, entry)
            except _GoneError:
                continue
            gone = theirs(table)
            count = pc.sum(gone).as_py() or 0
            if not count:
                continue
            if kept := len(table) - count:
                left = table.filter(pc.invert(gone))
                self._write(kind, _day_of(entry), "c", left.slice(0, kept))
            self._stores[kind].expunge(entry.key)
            rows, files = rows + count, files + 1
        return rows, files

    @property
    def stores(self) -> Iterable[Store]:
        """The places of the tables."""
        return self._stores.values()

    def _entries(self, kind: str) -> list[Entry]:
        return [entry for entry in self._stores[kind].list() if entry.key.endswith(".parquet")]

    def _read(self, kind: str, first: str, since_ms: int | None) -> pa.Table:
        what = KINDS[kind]
        wanted = [entry for entry in self._entries(kind) if _day_of(entry) >= first]
        tables = [self._table(kind, entry) for entry in wanted]
        whole = what.distinct(pa.concat_tables([what.schema.empty_table(), *tables]))
        if since_ms is not None:
            limit = pa.scalar(since_ms, pa.int64()).cast(what.schema.field(what.moment).type)
            whole = whole.filter(pc.greater_equal(whole[what.moment], limit))
        order = [
            name for name in ("request_id", "position", "item_id") if name in what.schema.names
        ]
        by = [(what.moment, "ascending"), *((name, "ascending") for name in order)]
        return whole.sort_by(by).combine_chunks()

    def _table(self, kind: str, entry: Entry) -> pa.Table:
        store = self._stores[kind]
        try:
            data = store.read_bytes(entry.key)
        except StorageError as error:
            if store.exists(entry.key):
                raise
            raise _GoneError(entry.key) from error
        schema = KINDS[kind].schema
        try:
            return pq.read_table(io.BytesIO(data)).select(schema.names).cast(schema)
        except (pa.ArrowInvalid, KeyError, ValueError, OSError) as error:
            raise StorageError(
                f"{store.location}/{entry.key} does not hold rows of {kind}: {error}",
                "move it away: it is damaged, or somebody else wrote it there",
            ) from error

    def _write(self, kind: str, day: str, form: str, table: pa.Table) -> None:
        sink = io.BytesIO()
        pq.write_table(table.cast(KINDS[kind].schema), sink, compression="zstd")
        now = time.time_ns() // 1_000_000
        store = self._stores[kind]
        name = f"{day}/{form}-{now:015}-{secrets.token_hex(6)}.parquet"
        store.write_bytes(name, sink.getvalue())
        if not is_s3(store.location):
            _keep_names(Path(store.location) / day, Path(store.location))


def store_of(config: ServedLogConfig, paths: Workspace) -> ServedStore:
    """Return where a configuration's Parquet files lie.

    Args:
        config: of the log.
        paths: the workspace; holds them unless the config names another place.
    """
    return ServedStore(config.location or paths.root)


class _GoneError(Exception):
    """A file was removed between the listing and the reading."""


def _day_of(entry: Entry) -> str:
    return entry.key.partition("/")[0]


def _day(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).date().isoformat()


def _days(times: pa.ChunkedArray) -> pa.Array:
    whole = np.asarray(times.cast(pa.int64()).to_numpy()).astype("datetime64[ms]")
    return pa.array(np.datetime_as_string(whole, unit="D").astype(object), pa.string())


def _keep_names(*folders: Path) -> None:
    """Flush folders: after a power cut a file without its name in one would be lost."""
    for folder in folders:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
