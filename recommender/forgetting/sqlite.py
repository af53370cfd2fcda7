"""A person's rows in a SQLite file: deleted so that the bytes are gone, not merely unlinked.

A plain `DELETE` leaves the row in a free page, in the write-ahead log, or both. So the file is
written anew without them (`VACUUM`), and the log is emptied.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from recommender.errors import StorageError
from recommender.forgetting.person import Person

MAGIC = b"SQLite format 3\x00"
BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a store."""

_WAIT_S = 30.0


def count(path: Path, person: Person) -> int:
    """Return how many rows name the person, in any table.

    Raises:
        sqlite3.Error: it isn't a readable SQLite file.
    """
    with closing(_open(path)) as store:
        return sum(
            store.execute(f"SELECT count(*) FROM {table} WHERE {words}", values).fetchone()[0]  # noqa: S608
            for table, words, values in _conditions(store, person)
        )


def erase(path: Path, person: Person) -> int:
    """Delete the person's rows, then write the file anew and empty its log.

    Readers may go on; they see the rows or they don't.

    Raises:
        sqlite3.Error: it isn't a readable SQLite file.
        StorageError: somebody else holds the store, or the disk is full.
    """
    removed = 0
    try:
        with closing(_open(path)) as store:
            store.execute("PRAGMA secure_delete = ON")
            store.execute("BEGIN IMMEDIATE")
            for table, words, values in _conditions(store, person):
                removed += store.execute(f"DELETE FROM {table} WHERE {words}", values).rowcount  # noqa: S608
            store.execute("COMMIT")
            store.execute("VACUUM")
            _empty_log(store, path)
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"{path} can't be rid of a user's rows: {error}",
            "wait for whoever writes into it and run again; it is finished then",
        ) from error
    return removed


def _open(path: Path) -> sqlite3.Connection:
    store = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    store.text_factory = bytes
    return store


def _empty_log(store: sqlite3.Connection, path: Path) -> None:
    """Move the write-ahead log into the file and cut it to nothing."""
    end = time.monotonic() + _WAIT_S
    while store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > end:
            raise StorageError(
                f"{path} is being read all the time, so its log can't be emptied",
                "stop who reads it, or run again when it is quiet",
            )
        time.sleep(0.05)


def _conditions(
    store: sqlite3.Connection, person: Person
) -> Iterator[tuple[str, str, list[str | bytes]]]:
    """Yield each table, quoted, with the condition under which a row of it names the person."""
    tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (raw,) in tables:
        name = raw.decode()
        if name.startswith("sqlite_"):
            continue
        words, values = _condition(store, name, person)
        if words:
            yield _quoted(name), " OR ".join(words), values


def _condition(
    store: sqlite3.Connection, table: str, person: Person
) -> tuple[list[str], list[str | bytes]]:
    words: list[str] = []
    values: list[str | bytes] = []
    for row in store.execute(f"PRAGMA table_info({_quoted(table)})").fetchall():
        column = row[1].decode()
        quoted = _quoted(column)
        words += [f"{quoted} = ?"] * len(person.keys)
        values += person.keys
        # Feast writes texts as blobs and blobs as texts; compared as bytes, both are found.
        words.append(f"instr(CAST({quoted} AS BLOB), ?) > 0")
        values.append(person.pseudonym.encode())
        if person.may_be_in(column):
            words.append(f"({quoted} = ? OR {quoted} = ?)")
            values += [person.user_id, person.user_id.encode()]
    return words, values


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
