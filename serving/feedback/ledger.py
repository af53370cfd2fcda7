"""What was told, on disk, each (request, item, action) once: an outbox in SQLite.

Feedback is answered after it is committed here, and written to the sink from here. So a server
that is killed loses none of it, one that starts again doesn't count it twice, and all servers of a
workspace share one memory. Servers on other machines have their own: what they count twice, the
join of the tables counts once (`recommender.served.distinct_feedback`).
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from recommender.config.feedback import FeedbackConfig
from recommender.errors import StorageError
from recommender.workspace import Workspace
from serving.feedback.report import Feedback

_WAIT_S = 5.0
_INSERT = (
    "INSERT OR IGNORE INTO feedback (event_id, request_id, item_id, action, time, value, received)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_WAITING = (
    "SELECT event_id, request_id, item_id, action, time, value, received FROM feedback"
    " WHERE written = 0 ORDER BY received LIMIT ?"
)


class Ledger:
    """The outbox of feedback; safe to share between threads and processes.

    Args:
        path: of the file; its folder is made.

    Raises:
        StorageError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            # What was answered must survive a power cut.
            self._db.execute("PRAGMA synchronous=FULL")
            # What is forgotten must not stay in free pages.
            self._db.execute("PRAGMA secure_delete=ON")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS feedback (event_id TEXT PRIMARY KEY, request_id TEXT "
                "NOT NULL, item_id TEXT NOT NULL, action TEXT NOT NULL, time INTEGER NOT NULL, "
                "value REAL, received INTEGER NOT NULL, written INTEGER NOT NULL DEFAULT 0)"
                " WITHOUT ROWID"
            )
            self._db.execute(
                "CREATE INDEX IF NOT EXISTS unwritten ON feedback (received) WHERE written = 0"
            )
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{path} can't be opened: {error}") from error

    def take(self, told: Sequence[Feedback]) -> list[bool]:
        """Keep feedback; when this returns it survives a crash.

        Args:
            told: verified.

        Returns:
            of each whether it was new.

        Raises:
            StorageError: it can't be written; nothing of it was kept.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    new = [
                        self._db.execute(
                            _INSERT,
                            (
                                *(one.event_id, one.request_id, one.item_id, one.action),
                                *(one.time, one.value, one.received),
                            ),
                        ).rowcount
                        == 1
                        for one in told
                    ]
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StorageError(f"{self.path} can't be written: {error}") from error
        return new

    def drain(self, write: Callable[[Sequence[Feedback]], None], most: int) -> int:
        """Hand what is not written yet to a sink; return how much that was.

        Args:
            write: the sink; may raise, then it gets the same again.
            most: rows per call.

        Raises:
            StorageError: the file can't be read or written, or what `write` raises.
        """
        with self.path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # another server is at it
            rows = self._waiting(most)
            if rows:
                write(rows)
                self._mark(rows)
            return len(rows)

    def prune(self, before_ms: int) -> None:
        """Remove what is written and so old that its request id is no longer accepted.

        Args:
            before_ms: UTC milliseconds; of `received`.

        Raises:
            StorageError: the file can't be written.
        """
        statement = "DELETE FROM feedback WHERE written = 1 AND received < ?"
        with self._lock:
            try:
                self._db.execute(statement, (before_ms,))
            except sqlite3.Error as error:
                raise StorageError(f"{self.path} can't be written: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _waiting(self, most: int) -> list[Feedback]:
        with self._lock:
            try:
                found = self._db.execute(_WAITING, (most,)).fetchall()
            except sqlite3.Error as error:
                raise StorageError(f"{self.path} can't be read: {error}") from error
        return [Feedback(*row) for row in found]

    def _mark(self, rows: Sequence[Feedback]) -> None:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(
                    "UPDATE feedback SET written = 1 WHERE event_id = ?",
                    [(row.event_id,) for row in rows],
                )
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StorageError(f"{self.path} can't be written: {error}") from error


def ledger_path(config: FeedbackConfig, paths: Workspace) -> Path:
    """Return where a configuration's ledger lies."""
    return Path(config.outbox or paths.feedback / "outbox.db")


def remove_from(path: Path, theirs: Callable[[str], bool]) -> int:
    """Remove what names certain requests, free pages included; return how many rows that were.

    Args:
        path: of a ledger; where there is none, nothing is done.
        theirs: tells of a request id whether it goes.

    Raises:
        StorageError: the file can't be read or written.
    """
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)) as db:
            db.execute("PRAGMA secure_delete=ON")
            every = db.execute("SELECT DISTINCT request_id FROM feedback").fetchall()
            gone = [row for row in every if theirs(row[0])]
            removed = 0
            for row in gone:
                removed += db.execute("DELETE FROM feedback WHERE request_id = ?", row).rowcount
            if removed:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed
    except sqlite3.Error as error:
        raise StorageError(f"{path} can't be written: {error}") from error
