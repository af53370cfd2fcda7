"""The embedded stores as files: opened safely, with errors that say what to do.

Feast makes one table `<project>_<view>` per view, with one row per (entity, feature). The online
store is kept in write-ahead mode: readers see the last committed state while a materialization
writes, and again after one that was killed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from recommender.errors import FeatureError

_WAIT_S = 10.0
"""How long a connection waits for another one's lock."""

_TURN_S = 60.0
"""How long a writer waits for its turn: a publication of a large project takes that long."""

_REPUBLISH = "move it away and publish again (`ostinato run`): it is made anew from the data"


def connect(path: Path) -> sqlite3.Connection:
    """Open a store for reading only.

    The connection may be used by several threads if the caller sees to it that they take turns.

    Raises:
        FeatureError: the store doesn't exist or isn't a readable SQLite file.
    """
    if not path.exists():
        raise FeatureError(
            f"there is no feature store at {path}", "publish features first: `ostinato run`"
        )
    with readable(path):
        store = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_WAIT_S,
            check_same_thread=False,
        )
        store.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return store


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a damaged, locked or full store into a `FeatureError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explained(path, str(error)) from error


def explained(path: Path, reason: str) -> FeatureError:
    """Return the error that says what to do about a store that SQLite can't work with."""
    hint = _REPUBLISH
    if "disk is full" in reason:
        hint = "free some space on this disk and run again; the last good state is still there"
    elif "locked" in reason:
        hint = "another run is publishing features; wait for it and run again"
    elif "readonly" in reason or "unable to open" in reason:
        hint = "check the permissions of this folder"
    return FeatureError(f"the feature store {path} can't be used: {reason}", hint)


def prepare(path: Path) -> None:
    """Make the online store, if there is none, and put it into write-ahead mode.

    Raises:
        FeatureError: what is there isn't a readable SQLite file.
    """
    with readable(path), closing(sqlite3.connect(path, timeout=_WAIT_S)) as store:
        store.execute("PRAGMA journal_mode=WAL")


def check(path: Path) -> None:
    """Look through a small store for damage; a missing one is fine.

    Raises:
        FeatureError: it is damaged.
    """
    if not path.exists():
        return
    with readable(path), closing(connect(path)) as store:
        (verdict,) = store.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise explained(path, verdict)


def table(project: str, view: str) -> str:
    """Return the quoted name of a view's table in the online store."""
    return f'"{project}_{view}"'.replace("\0", "")


class PerThread:
    """A connection for each thread that asks: readers don't wait for each other.

    It is opened anew when another file has taken the store's place: an open connection would go
    on with the one that was moved away.

    Args:
        path: of the store.
        opened: opens a connection.
    """

    def __init__(self, path: Path, opened: Callable[[Path], sqlite3.Connection]) -> None:
        self._path = path
        self._opened = opened
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def get(self) -> sqlite3.Connection:
        """Return this thread's connection.

        Raises:
            FeatureError: the store can't be opened.
        """
        file = _identity(self._path)
        if file is None or getattr(self._local, "file", None) != file:
            self._local.file = None
            store = self._opened(self._path)
            self._local.store, self._local.file = store, _identity(self._path)
            with self._lock:
                self._all.append(store)
        held: sqlite3.Connection = self._local.store
        return held

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for store in self._all:
                store.close()
            self._all.clear()
        self._local = threading.local()


def writer(path: Path) -> sqlite3.Connection:
    """Open a store for writing, and make it if there is none; transactions are the caller's.

    Raises:
        FeatureError: what is there isn't a readable SQLite file, or can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(path, f"unable to open database file ({error.strerror})") from error
    prepare(path)
    with readable(path):
        store = sqlite3.connect(
            path, timeout=_TURN_S, isolation_level=None, check_same_thread=False
        )
        # Whole after a crash in any case; after a power failure the last commits may be missing,
        # and they can be made again from the log, so nobody waits for the disk.
        store.execute("PRAGMA synchronous=NORMAL")
        store.execute("PRAGMA cache_size=-65536")
        store.execute("PRAGMA journal_size_limit=67108864")
    return store


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
