"""A log divided by user into buckets that fit into memory, each with all events of its users.

The bucket of a user depends on nothing but the id and the number of buckets, so that any process
on any machine finds the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.errors import FeatureError, StorageError
from recommender.features.event_order import dictionary

COLUMNS = ("event_id", "user_id", "item_id", "event", "time", "value")
"""What sequences need of the canonical events."""

Events: TypeAlias = pa.Table | Path | Sequence[Path]
"""A log: in memory, or as one Parquet file or several."""

MOST = 2**16
"""Buckets; a bucket's number is sorted by NumPy's 16-bit radix sort."""

ROWS = 500_000
"""Rows that are divided at a time, at most."""


def bucket_of(user_ids: pa.ChunkedArray, buckets: int) -> NDArray[np.uint16]:
    """Return the bucket of each user id, (E,).

    A polynomial hash of the UTF-8 bytes modulo 2⁶⁴, finished by SplitMix64 (Steele, Lea and
    Flood, *Fast splittable pseudorandom number generators*, 2014).

    Args:
        user_ids: texts without nulls.
        buckets: how many there are, 1 … `MOST`.
    """
    codes, names = dictionary(user_ids)
    names = names.cast(pa.large_string())
    _, offsets, data = names.buffers()
    ends = np.frombuffer(offsets, np.int64)[names.offset : names.offset + len(names) + 1]
    first, last = (int(ends[0]), int(ends[-1])) if len(names) else (0, 0)
    bytes_ = np.frombuffer(data, np.uint8)[first:last] if last > first else np.empty(0, np.uint8)
    lengths = np.diff(ends)
    places = np.arange(last - first) - np.repeat(ends[:-1] - first, lengths)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(int(lengths.max(initial=0)), 0x100000001B3, np.uint64))
        # + 1: a zero byte must count as well.
        sums = np.cumsum((bytes_.astype(np.uint64) + np.uint64(1)) * powers[places])
        before = np.concatenate([np.zeros(1, np.uint64), sums])
        mixed = before[ends[1:] - first] - before[ends[:-1] - first]
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    found: NDArray[np.uint16] = (mixed % np.uint64(buckets)).astype(np.uint16)
    return found[codes]


def divided(events: pa.Table, buckets: int) -> list[pa.Table]:
    """Return the events of each bucket, in the order in which they came; copies, not slices.

    Raises:
        FeatureError: an event has no user.
    """
    if missing := events["user_id"].null_count:
        raise FeatureError(
            f"{missing} of {events.num_rows} events have no user_id",
            "validation removes such events; run the validate step on this data",
        )
    bucket = bucket_of(events["user_id"], buckets)
    order = np.argsort(bucket, kind="stable")
    ends = np.searchsorted(bucket[order], np.arange(buckets + 1))
    joined = events.combine_chunks()
    return [joined.take(pa.array(order[a:b])) for a, b in pairwise(ends)]


def count_rows(events: Events) -> int:
    """Return how many events a log holds, without reading them."""
    if isinstance(events, pa.Table):
        return int(events.num_rows)
    with readable(events):
        return sum(pq.read_metadata(path).num_rows for path in paths_of(events))


def paths_of(events: Path | Sequence[Path]) -> list[Path]:
    """Return the Parquet files of a log."""
    return [events] if isinstance(events, Path) else list(events)


def parts(events: Events, rows: int = ROWS, columns: Sequence[str] = COLUMNS) -> Iterator[pa.Table]:
    """Yield a log in parts of at most so many rows, by default with what sequences need.

    Raises:
        StorageError: a file is missing or damaged, or lacks a column.
    """
    if isinstance(events, pa.Table):
        needed = events.select(columns)
        yield from (needed.slice(start, rows) for start in range(0, events.num_rows, rows))
        return
    for path in paths_of(events):
        with readable(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows, columns=list(columns)):
                yield pa.Table.from_batches([batch]).select(columns)


def whole(events: Events) -> pa.Table:
    """Return a log that fits into memory, with the columns that sequences need."""
    found = list(parts(events))
    if found:
        return pa.concat_tables(found)
    if isinstance(events, pa.Table):
        return events.select(COLUMNS)
    with readable(events):
        return pa.schema(
            [pq.read_schema(paths_of(events)[0]).field(c) for c in COLUMNS]
        ).empty_table()


def spill(tables: Iterable[pa.Table], buckets: int, folder: Path) -> list[Path]:
    """Write the events of each bucket into a file of its own, in bounded memory.

    Args:
        tables: parts of the log.
        buckets: how many there are.
        folder: exists; gets one Arrow stream per bucket.

    Returns:
        The file of each bucket; missing where a bucket got no events.

    Raises:
        FeatureError: an event has no user.
        StorageError: the disk is full.
    """
    paths = [folder / f"{bucket:05}.arrow" for bucket in range(buckets)]
    writers: dict[int, Any] = {}
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with _writing(folder), ExitStack() as stack:
        for table in tables:
            for bucket, part in enumerate(divided(table, buckets)):
                if not part.num_rows:
                    continue
                if bucket not in writers:
                    sink = stack.enter_context(pa.OSFile(str(paths[bucket]), "wb"))
                    writer = pa.ipc.new_stream(sink, part.schema, options=options)
                    writers[bucket] = stack.enter_context(writer)
                writers[bucket].write_table(part)
    return paths


def spilled(path: Path) -> pa.Table:
    """Read the events of one bucket."""
    with _writing(path), pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_stream(source).read_all()


@contextmanager
def readable(events: Path | Sequence[Path]) -> Iterator[None]:
    """Turn what Arrow says about a missing or damaged file into a `StorageError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"there is no such file: {error}", "run the ingest step first") from None
    except (pa.ArrowException, KeyError, OSError) as error:
        where = ", ".join(str(path) for path in paths_of(events)[:3])
        raise StorageError(f"{where} can't be read as canonical events: {error}") from error


@contextmanager
def _writing(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"events can't be divided in {where}: {error.strerror or error}",
            "free some space on this disk, or set TMPDIR to one that has some, and run again; "
            "nothing was published",
        ) from error
