"""The latest sequences by Ray: the same buckets and the same function per bucket, as tasks.

A shuffle in two stages. *Dividing* tasks read a part of the log each and return one piece per
bucket; *building* tasks take all pieces of one bucket. Pieces travel through Ray's object store,
which spills to disk, so that no folder has to be shared; the log itself must be readable by all
workers (a shared file system, or `s3://` mounted there). Few results are asked for at a time, so
that the asking process stays small.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recommender.config.build import BuildConfig
from recommender.errors import FeatureError, UserError
from recommender.features.buckets import (
    COLUMNS,
    Events,
    count_rows,
    divided,
    parts,
    paths_of,
    readable,
)
from recommender.features.streaming_build import Wanted

_ROWS = 2_000_000
"""Rows of a part of the log, at least, but for the last; whole row groups."""

_AHEAD = 2
"""Buckets per processor that are asked for before the first is taken."""

_ADDRESS, _TOKEN, _MODE = "RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"

_CHECK = f"check {_ADDRESS} and features.build.address; without them a Ray is started here"

_WAIT_S = 10.0
"""How long a cluster's address has to answer."""


def ray_tables(
    events: Events, wanted: Wanted, buckets: int, build: BuildConfig
) -> Iterator[pa.Table]:
    """Yield the rows of each bucket, in the order of the buckets.

    Args:
        events: canonical events.
        wanted: what is asked.
        buckets: how many there are.
        build: where Ray is, and how many processes it has if it has to be started; one that is
            connected, or that has an address, has its own.

    Raises:
        FeatureError: Ray isn't installed or can't be reached, or lost the work; or what
            `Wanted.of` raises.
        StorageError: a file can't be read.
    """
    with _connected(build) as ray:
        divide = ray.remote(num_returns=buckets)(_divided)
        finish = ray.remote(_built)
        wanted_once = ray.put(wanted)
        pieces = []
        # As large as a bucket, so that there are about as many parts as buckets: what Ray has to
        # keep track of grows with their product.
        rows = max(_ROWS, -(-count_rows(events) // buckets))
        for part in _parts(events, rows):
            made = divide.remote(ray.put(part) if isinstance(part, pa.Table) else part, buckets)
            pieces.append([made] if buckets == 1 else made)
        asked: deque[Any] = deque()
        most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        for bucket in range(buckets):
            those = [part[bucket] for part in pieces]
            for part in pieces:
                part[bucket] = None
            asked.append(finish.remote(wanted_once, *those))
            del those
            if len(asked) >= most:
                yield _answer(ray, asked.popleft())
        while asked:
            yield _answer(ray, asked.popleft())


def _parts(events: Events, rows: int) -> Iterator[pa.Table | tuple[Path, tuple[int, ...]]]:
    """Yield parts of a log: tables, or row groups of a file that the task reads itself."""
    if isinstance(events, pa.Table):
        yield from parts(events, rows) if events.num_rows else [events.select(COLUMNS)]
        return
    for path in paths_of(events):
        with readable(path):
            metadata = pq.read_metadata(path)
        groups: list[int] = []
        held = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            held += metadata.row_group(group).num_rows
            if held >= rows:
                yield path, tuple(groups)
                groups, held = [], 0
        if groups or not metadata.num_row_groups:
            yield path, tuple(groups)


def _divided(part: pa.Table | tuple[Path, tuple[int, ...]], buckets: int) -> Any:
    """Run in a worker: read a part of the log and return its piece of each bucket."""
    if not isinstance(part, pa.Table):
        path, groups = part
        with readable(path), pq.ParquetFile(path) as file:
            part = file.read_row_groups(list(groups), columns=list(COLUMNS)).select(COLUMNS)
    pieces = divided(part, buckets)
    return pieces if buckets > 1 else pieces[0]


def _built(wanted: Wanted, *pieces: pa.Table) -> pa.Table:
    """Run in a worker: return the rows of one bucket."""
    return wanted.of(pa.concat_tables(pieces))


@contextmanager
def _connected(build: BuildConfig) -> Iterator[Any]:
    """Yield Ray: the one that is connected, the cluster's, or one that ends with this block."""
    if os.environ.get(_TOKEN):
        # Ray reads this when it is loaded, and sends no token without it.
        os.environ.setdefault(_MODE, "token")
    try:
        import ray
    except ImportError as error:
        raise FeatureError(
            "features.build.engine is ray, and Ray is not installed",
            "install the extra: pip install 'ostinato[scale]'; or set the engine to local",
        ) from error
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get(_ADDRESS) or build.address:
        _knock(address)
        start: dict[str, Any] = {"address": address, **quiet}
    else:
        # A Ray of this block's own reports to nobody and opens no page.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        start = {"address": "local", "num_cpus": build.workers, "include_dashboard": False, **quiet}
    try:
        ray.init(**start)
    # RayError: it asks who calls, and no token is there.
    except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise FeatureError(
            f"Ray can't be reached: {str(error).splitlines()[0]}",
            f"{_CHECK}; a cluster that asks who calls wants {_TOKEN}",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Make sure that somebody listens; Ray itself would try for minutes.

    Raises:
        FeatureError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # a name that Ray knows, such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), _WAIT_S).close()
    except OSError as error:
        raise FeatureError(
            f"Ray can't be reached at {address}: {error.strerror or error}", _CHECK
        ) from error


def _answer(ray: Any, asked: Any) -> pa.Table:
    """Wait for a bucket; what went wrong in a worker is raised as it was there."""
    try:
        return ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise FeatureError(
            f"Ray lost the work: {str(error).splitlines()[0]}",
            "run again; if workers run out of memory, set features.build.events_per_bucket lower",
        ) from error
