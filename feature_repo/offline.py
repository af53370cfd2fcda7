"""Writing snapshots to the profile's offline location: a folder or S3, each whole or not at all."""

from __future__ import annotations

import tempfile
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
    if is_s3(location):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{view}.parquet"
            pq.write_table(table, path, compression="zstd", row_group_size=_GROUP)
            # One object is one put, or one completed multipart upload: never half there.
            open_store(location).upload(path, "")
    else:
        with atomic_file(Path(location) / f"{view}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=_GROUP)
            temporary.chmod(0o644)
    return f"{location}/{view}.parquet"


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
