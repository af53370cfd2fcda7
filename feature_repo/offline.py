"""Writing snapshots to the profile's offline location: a folder or S3, each whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recommender.files import atomic_file
from recommender.storage import is_s3, open_store

_GROUP = 65_536
"""Rows of a group: who looks for one id, or reads a block at a time, holds no more than that."""


def write_snapshot(location: str, view: str, table: pa.Table) -> str:
    """Put the snapshot of one view into the place of the last one.

    Args:
        location: of the project's snapshots (`Profile.offline_location`).
        view: its name.
        table: with the join key, every feature, `event_timestamp` and `created`.

    Returns:
        Where it is now.

    Raises:
        StorageError: it can't be written (disk full, no such bucket, forbidden, unreachable); the
            last one is still there.
    """
    with _placed(location, view) as path:
        pq.write_table(table, path, compression="zstd", row_group_size=_GROUP)
    return f"{location}/{view}.parquet"


def write_snapshot_batches(location: str, view: str, batches: Iterable[pa.RecordBatch]) -> str:
    """Put a snapshot that is larger than memory into the place of the last one.

    Args:
        location: of the project's snapshots (`Profile.offline_location`).
        view: its name.
        batches: at least one; columns as for `write_snapshot`.

    Returns:
        Where it is now.

    Raises:
        StorageError: as `write_snapshot`; the last one is still there, also if `batches` raises.
    """
    left = iter(batches)
    first = next(left)
    with _placed(location, view) as path:
        held, rows = [first], first.num_rows
        with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
            for batch in left:
                if rows + batch.num_rows > _GROUP:
                    writer.write_table(pa.Table.from_batches(held))
                    held, rows = [], 0
                held.append(batch)
                rows += batch.num_rows
            writer.write_table(pa.Table.from_batches(held, first.schema))
    return f"{location}/{view}.parquet"


@contextmanager
def _placed(location: str, view: str) -> Iterator[Path]:
    """Yield a path to write to; what is there at the end takes the place of the last snapshot."""
    if is_s3(location):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{view}.parquet"
            yield path
            # One object is one put, or one completed multipart upload: never half there.
            open_store(location).upload(path, "")
    else:
        with atomic_file(Path(location) / f"{view}.parquet") as temporary:
            yield temporary
            temporary.chmod(0o644)


def read_snapshot(location: str, view: str) -> pa.Table:
    """Read the snapshot of one view.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_s3(location):
        return pq.read_table(Path(location) / f"{view}.parquet")
    from pyarrow.fs import FileSystem

    files, place = FileSystem.from_uri(f"{location}/{view}.parquet")
    return pq.read_table(place, filesystem=files)
