"""The durable book of causes and runs: what came, what is due, what runs, how it ended.

One SQLite file. A cause that is written down survives a kill; a cause that comes twice is one; a
run takes all causes that wait, in the same transaction in which it comes to be, so no cause leads
to two runs and none is lost. A training that stands in for a refresh answers the refresh's causes.
"""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.triggers.answer import TRAINING, pipeline_for
from pipelines.triggers.cause import Cause, Kind
from recommender.config.triggers import TriggersConfig

_TABLES = """
CREATE TABLE IF NOT EXISTS causes (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, why TEXT NOT NULL, location TEXT NOT NULL,
    data_version TEXT NOT NULL, received REAL NOT NULL, run TEXT
);
CREATE INDEX IF NOT EXISTS waiting ON causes (run) WHERE run IS NULL;
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, began REAL NOT NULL, handle TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'STARTING', starts INTEGER NOT NULL DEFAULT 0,
    ended REAL, told TEXT NOT NULL DEFAULT '',
    pipeline TEXT NOT NULL DEFAULT 'training', instead_of TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS facts (
    name TEXT PRIMARY KEY, moment REAL NOT NULL, told TEXT NOT NULL
);
"""
_ADDED = {
    "pipeline": "TEXT NOT NULL DEFAULT 'training'",
    "instead_of": "TEXT NOT NULL DEFAULT ''",
}
"""Columns of `runs` that an older book lacks."""
GOING = ("STARTING", "RUNNING")
UNREFRESHED = "UNREFRESHED"
"""How a refresh ends that can't be made; a training follows."""


@dataclass(frozen=True)
class TriggeredRun:
    """A run that causes led to.

    Attributes:
        id: names it, here and where it runs.
        began: seconds since 1970.
        state: STARTING, RUNNING, or how it ended.
        handle: what the place where it runs calls it; "" until it was started.
        causes: why.
        told: how it ended, or why it could not be started yet, in words.
        starts: how often it was started: again after a crash.
        pipeline: one of `pipelines.compile.PIPELINES`.
        instead_of: the refresh that could not be made, whose causes this run answers; or "".
    """

    id: str
    began: float
    state: str
    handle: str
    causes: tuple[Cause, ...]
    told: str = ""
    starts: int = 0
    pipeline: str = TRAINING
    instead_of: str = ""


class Book:
    """The book of one data set; safe to share between threads and processes.

    Args:
        path: of the file; it and its folder are made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._open() as book:
            # The workspace is a network file system on a cluster, and a write-ahead log has shared
            # memory beside it, which two hosts don't share. Waits for whoever reads an older book.
            book.execute("PRAGMA journal_mode = DELETE")
            book.executescript(_TABLES)
        with self._changing() as book:
            known = {row[1] for row in book.execute("PRAGMA table_info(runs)")}
            for name, kind in _ADDED.items():
                if name not in known:
                    book.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")
            book.execute("INSERT OR IGNORE INTO facts VALUES ('begun', ?, '')", (time.time(),))

    def add(self, causes: Sequence[Cause], now: float) -> int:
        """Write causes down; return how many were new.

        Args:
            causes: the causes.
            now: seconds since 1970.
        """
        rows = [(c.id, c.kind, c.why, c.location, c.data_version, now) for c in causes]
        with self._changing() as book:
            before = book.total_changes
            book.executemany(
                "INSERT INTO causes (id, kind, why, location, data_version, received) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                rows,
            )
            return book.total_changes - before

    def knows(self, pattern: str) -> bool:
        """Tell whether a cause with an id like `pattern` (SQL's) ever came."""
        with self._open() as book:
            found = book.execute("SELECT 1 FROM causes WHERE id LIKE ? LIMIT 1", (pattern,))
            return found.fetchone() is not None

    def note(self, cause: Cause, now: float) -> None:
        """Write down a cause that leads to no run: it is taken up already."""
        self.add([cause], now)
        with self._changing() as book:
            book.execute("UPDATE causes SET run = '' WHERE id = ? AND run IS NULL", (cause.id,))

    def claim(self, run_id: str, config: TriggersConfig, now: float) -> TriggeredRun | None:
        """Make a run of all causes that wait, if it is time for one.

        Args:
            run_id: names the run.
            config: debounce, pause and concurrency.
            now: seconds since 1970.
        """
        with self._changing() as book:
            first, last, count = book.execute(
                "SELECT min(received), max(received), count(*) FROM causes WHERE run IS NULL"
            ).fetchone()
            going, began = book.execute(
                "SELECT count(*) FILTER (WHERE state IN (?, ?)), max(began) FROM runs", GOING
            ).fetchone()
            if not count or going >= config.concurrency:
                return None
            quiet = now - last >= config.debounce_s or now - first >= config.longest_wait_s
            asked = book.execute(
                "SELECT 1 FROM causes WHERE run IS NULL AND kind = ?", (Kind.ASKED,)
            ).fetchone()
            paused = began is not None and now - began < config.pause_s
            if not quiet or (paused and not asked):
                return None
            kinds = book.execute("SELECT DISTINCT kind FROM causes WHERE run IS NULL").fetchall()
            pipeline = pipeline_for((Kind(row[0]) for row in kinds), config)
            book.execute(
                "INSERT INTO runs (id, began, pipeline) VALUES (?, ?, ?)", (run_id, now, pipeline)
            )
            book.execute("UPDATE causes SET run = ? WHERE run IS NULL", (run_id,))
        return self.run(run_id)

    def train_instead(self, run_id: str, by: str, told: str, now: float) -> TriggeredRun:
        """End a refresh that can't be made, and make the training that answers its causes.

        Args:
            run_id: of the refresh.
            by: names the training.
            told: why the refresh can't be made.
            now: seconds since 1970.
        """
        with self._changing() as book:
            book.execute(
                "UPDATE runs SET state = ?, told = ?, ended = ? WHERE id = ?",
                (UNREFRESHED, told, now, run_id),
            )
            book.execute(
                "INSERT INTO runs (id, began, pipeline, instead_of) VALUES (?, ?, ?, ?)",
                (by, now, TRAINING, run_id),
            )
        return self.run(by)

    def started(self, run_id: str, handle: str) -> None:
        """Write down what the place where a run is started calls it."""
        with self._changing() as book:
            book.execute(
                "UPDATE runs SET state = 'RUNNING', handle = ?, told = '', starts = starts + 1 "
                "WHERE id = ?",
                (handle, run_id),
            )

    def delayed(self, run_id: str, told: str) -> None:
        """Write down why a run could not be started yet."""
        with self._changing() as book:
            book.execute("UPDATE runs SET told = ? WHERE id = ?", (told, run_id))

    def ended(self, run_id: str, state: str, told: str, now: float) -> None:
        """Write down how a run ended."""
        with self._changing() as book:
            book.execute(
                "UPDATE runs SET state = ?, told = ?, ended = ? WHERE id = ?",
                (state, told, now, run_id),
            )

    def going(self) -> tuple[TriggeredRun, ...]:
        """Return the runs that haven't ended, the earliest first."""
        with self._open() as book:
            found = book.execute("SELECT id FROM runs WHERE state IN (?, ?) ORDER BY began", GOING)
            return tuple(self.run(row[0]) for row in found.fetchall())

    def ends(self) -> dict[str, tuple[int, float]]:
        """Return by state how many runs there are, and when the last of them ended or began."""
        with self._open() as book:
            found = book.execute(
                "SELECT state, count(*), max(coalesce(ended, began)) FROM runs GROUP BY state"
            )
            return {state: (count, last) for state, count, last in found.fetchall()}

    def latest(self, count: int) -> tuple[TriggeredRun, ...]:
        """Return the latest runs, the newest first."""
        with self._open() as book:
            found = book.execute("SELECT id FROM runs ORDER BY began DESC LIMIT ?", (count,))
            return tuple(self.run(row[0]) for row in found.fetchall())

    def waiting(self) -> tuple[Cause, ...]:
        """Return the causes that no run has taken up yet, in the order in which they came."""
        with self._open() as book:
            return _causes(book, "run IS NULL", ())

    def keep(self, name: str, told: str, now: float) -> None:
        """Write something else down that a restart must not forget, in the place of the last."""
        with self._changing() as book:
            book.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (name, now, told))

    def kept(self, name: str) -> tuple[str, float] | None:
        """Return what was kept under a name last, and when; None: nothing ever."""
        with self._open() as book:
            found = book.execute("SELECT told, moment FROM facts WHERE name = ?", (name,))
            row = found.fetchone()
            return None if row is None else (row[0], row[1])

    def begun(self) -> float:
        """Return when the book was begun, seconds since 1970."""
        kept = self.kept("begun")
        return kept[1] if kept else 0.0

    def run(self, run_id: str) -> TriggeredRun:
        """Return a run; there must be one of this name."""
        with self._open() as book:
            began, state, handle, *rest = book.execute(
                "SELECT began, state, handle, told, starts, pipeline, instead_of "
                "FROM runs WHERE id = ?",
                (run_id,),
            ).fetchone()
            causes = _causes(book, "run = ?", (rest[-1] or run_id,))
        return TriggeredRun(run_id, began, state, handle, causes, *rest)

    @contextmanager
    def tended(self) -> Iterator[bool]:
        """Be the one who brings runs about, for a while; yields whether nobody else is."""
        with self._path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        book = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            yield book
        finally:
            book.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as book:
            book.execute("BEGIN IMMEDIATE")
            try:
                yield book
            except BaseException:
                book.execute("ROLLBACK")
                raise
            book.execute("COMMIT")


def _causes(book: sqlite3.Connection, where: str, values: tuple[str, ...]) -> tuple[Cause, ...]:
    rows = book.execute(
        f"SELECT id, kind, why, location, data_version FROM causes WHERE {where} "  # noqa: S608
        "ORDER BY received, id",
        values,
    )
    return tuple(Cause(row[0], Kind(row[1]), *row[2:]) for row in rows)
