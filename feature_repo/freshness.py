"""How fresh each view is, kept beside the rows so that whoever reads them can know.

Embedded: `freshness/<project>.json` and `<project>.stream.json` beside the stores. Production: one
hash in the same Redis, so that a model server on another machine sees it too. Publications write
a record per view after its rows have arrived: a publication that was killed in between leaves
features that are called older than they are, never younger.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from feature_repo.locations import online_db
from feature_repo.profile import Profile, read_profile
from recommender.errors import StorageError
from recommender.features.freshness import Freshness
from recommender.files import read_json, write_json
from recommender.workspace import Workspace

STREAMED = ("user_sequence",)
"""Views that streamed events change."""

_STREAM = "stream"
_EVERY_S = 1.0


class Place(Protocol):
    """Where the records of one project are kept."""

    def read(self) -> dict[str, Any]:
        """Return every record by view, and the stream's under `stream`."""
        ...

    def write(self, records: Mapping[str, Any]) -> None:
        """Replace the records of some views, atomically; the others stay."""
        ...

    def remove(self, views: Collection[str]) -> None:
        """Remove the records of some views."""
        ...


def now_ms() -> int:
    """Return the present moment, UTC milliseconds."""
    return int(time.time() * 1000)


def place_of(paths: Workspace, project: str, profile: Profile | None = None) -> Place:
    """Return where a project's records are kept: beside its online store, whichever that is.

    Args:
        paths: the workspace.
        project: Feast project.
        profile: which stores are meant; by default what the environment says.
    """
    profile = profile or read_profile()
    if profile.redis is None:
        return files_beside(online_db(paths), project)
    from feature_repo.freshness_in_redis import RedisPlace

    return RedisPlace(profile.redis, project)


def files_beside(store: Path, project: str) -> Place:
    """Return the files of a project whose online store is a file.

    Args:
        store: that file.
        project: Feast project.
    """
    return _Files(store.parent / "freshness", project)


def record(place: Place, published: Iterable[Freshness]) -> None:
    """Keep what is known of publications that have just ended.

    Raises:
        StorageError, FeatureError: it can't be written.
    """
    place.write({each.view: each.to_dict() for each in published})


def forget_others(place: Place, views: Collection[str]) -> tuple[Freshness, ...]:
    """Remove the records of views that are published no longer; return those of the others.

    Raises:
        StorageError, FeatureError: the records can't be read or written.
    """
    found = read(place)
    gone = found.keys() - set(views)
    if gone:
        place.remove(gone)
    return tuple(each for view, each in found.items() if view not in gone)


def read(place: Place) -> dict[str, Freshness]:
    """Return the freshness of every published view, streamed events included.

    Raises:
        StorageError, FeatureError: it can't be read.
    """
    stored = place.read()
    stream = stored.pop(_STREAM, None)
    found = {
        view: Freshness.from_dict(value, f"the freshness of {view}")
        for view, value in stored.items()
    }
    if stream:
        for view in STREAMED:
            if view in found:
                found[view] = found[view].streamed(
                    int(stream["arrived_ms"]), int(stream["newest_event_ms"])
                )
    return found


class Arrivals:
    """Tells the records that streamed events arrive; safe to share between threads.

    The first call and then at most one a second writes, so that it costs nothing per event; the
    moment recorded may be that much too early.

    Args:
        place: of the project whose sequences change.
        every_s: shortest time between two writes.
    """

    def __init__(self, place: Place, every_s: float = _EVERY_S) -> None:
        self._place = place
        self._every_s = every_s
        self._written = float("-inf")
        self._arrived_ms = 0
        self._newest_event_ms = 0
        self._lock = threading.Lock()

    def note(self, newest_event_ms: int, arrived_ms: int | None = None) -> None:
        """Say that events have just reached the online store.

        Args:
            newest_event_ms: the latest time among them, UTC milliseconds.
            arrived_ms: when they arrived; now by default.

        Raises:
            StorageError, FeatureError: it can't be written.
        """
        with self._lock:
            self._arrived_ms = max(self._arrived_ms, arrived_ms or now_ms())
            self._newest_event_ms = max(self._newest_event_ms, newest_event_ms)
            if time.monotonic() - self._written < self._every_s:
                return
            self._flush()

    def flush(self) -> None:
        """Write what has been noted since the last write; call it when the stream ends."""
        with self._lock:
            if self._arrived_ms:
                self._flush()

    def _flush(self) -> None:
        # Other consumers write here too; theirs may be ahead of ours.
        before = self._place.read().get(_STREAM) or {"arrived_ms": 0, "newest_event_ms": 0}
        self._place.write(
            {
                _STREAM: {
                    "arrived_ms": max(self._arrived_ms, before["arrived_ms"]),
                    "newest_event_ms": max(self._newest_event_ms, before["newest_event_ms"]),
                }
            }
        )
        self._written = time.monotonic()


class _Files:
    """Two small files: publications write one of them, streams the other."""

    def __init__(self, folder: Path, project: str) -> None:
        self._views = folder / f"{project}.json"
        self._stream = folder / f"{project}.{_STREAM}.json"

    def read(self) -> dict[str, Any]:
        return {**self._held(self._views), **self._held(self._stream)}

    def write(self, records: Mapping[str, Any]) -> None:
        views = {name: each for name, each in records.items() if name != _STREAM}
        if views:
            with self._alone():
                write_json(self._views, {**self._held(self._views), **views})
        if _STREAM in records:
            write_json(self._stream, {_STREAM: records[_STREAM]})

    def remove(self, views: Collection[str]) -> None:
        with self._alone():
            held = self._held(self._views)
            write_json(self._views, {name: held[name] for name in held if name not in views})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one change at a time: views may be materialized by several processes."""
        self._views.parent.mkdir(parents=True, exist_ok=True)
        with self._views.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _held(path: Path) -> dict[str, Any]:
        if not path.exists():
            return {}
        held = read_json(path)
        if not isinstance(held, dict):
            raise StorageError(f"{path} is not a record of freshness", "publish the features again")
        return held
