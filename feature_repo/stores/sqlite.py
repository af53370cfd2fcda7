"""The embedded online store: Feast's SQLite file, written and read without its SDK.

Every write is one transaction: whoever reads meanwhile sees what was there before, and so does
everybody after a kill. Writers take turns; an update waits for a publication to end.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.sqlite import PerThread, connect, readable, table, writer
from feature_repo.stores.online_store import Merge, Row, Written
from feature_repo.stores.rows import (
    Rows,
    checked,
    decoded,
    judge,
    made_now,
    prepared,
)
from feature_repo.stores.sqlite_layout import (
    chunks,
    columns,
    create,
    every_age,
    lines,
    marks,
    reading,
    stored,
    stored_ages,
    upsert,
)
from feature_repo.stores.stamps import microseconds
from feature_repo.wire import decode_key, decode_value, encode_key, kind_of
from recommender.errors import FeatureError

if TYPE_CHECKING:
    import pyarrow as pa

_Change = Callable[[Row | None], Row | None]


class SqliteStore:
    """The rows of one Feast project in a SQLite file; safe to share between threads.

    Args:
        path: of the file; the first write makes it if there is none.
        project: Feast project.
    """

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project
        self._readers = PerThread(path, connect)
        self._writers = PerThread(path, writer)

    def declare(self, view: str, key: str, kinds: Mapping[str, str]) -> None:
        """Make a view known; see `OnlineStore`."""
        features = checked(view, kinds)
        with self._turn() as store:
            self._declare(store, view, key, features)

    def views(self) -> list[str]:
        """Return the names of the views that the store knows, sorted; see `OnlineStore`."""
        start = f"{self._project}_"
        named = self._read("SELECT name FROM sqlite_master WHERE type = 'table'")
        there = {name[len(start) :] for (name,) in named if name.startswith(start)}
        if not _has_catalogue(self._readers.get()):
            return sorted(there)
        known = self._read("SELECT view FROM ostinato_views WHERE project = ?", self._project)
        return sorted(view for (view,) in known if view in there)

    def rows(
        self, view: str, key: str, ids: Sequence[str], features: Sequence[str] | None = None
    ) -> list[Row | None]:
        """Return rows in the order of `ids`; see `OnlineStore`."""
        keys = [encode_key(key, each) for each in ids]
        names = tuple(features or ())
        found: dict[bytes, Row] = {}
        for some in chunks(keys):
            statement = reading(
                self._project, view, len(some), -1 if features is None else len(names)
            )
            for entity, feature, value in self._read(statement, *some, *names):
                row = found.get(entity)
                if row is None:
                    row = found[entity] = dict.fromkeys(names)
                row[feature] = decode_value(value)
        return [found.get(each) for each in keys]

    def ids(self, view: str) -> Iterator[str]:
        """Yield the ids of a view; see `OnlineStore`."""
        statement = f"SELECT DISTINCT entity_key FROM {table(self._project, view)}"  # noqa: S608
        with readable(self._path):
            for (key,) in self._readers.get().execute(statement):
                yield decode_key(key)

    def write(
        self, view: str, key: str, batches: Iterable[pa.RecordBatch], merge: Merge | None = None
    ) -> Written:
        """Write snapshot rows, all of them or none; see `OnlineStore`."""
        from feature_repo.stores.snapshot_rows import encoded_rows, kinds_of

        told = Written()
        kinds: dict[str, str] | None = None
        with self._turn() as store:
            for batch in batches:
                if kinds is None:
                    kinds = kinds_of(key, batch.schema)
                    self._declare(store, view, key, kinds)
                for rows in encoded_rows(view, key, [batch]):
                    told += self._put(store, view, rows, kinds, merge)
        return told

    def update(self, view: str, key: str, changes: Mapping[str, _Change]) -> None:
        """Read, change and write rows; see `OnlineStore`."""
        ids = {encode_key(key, each): each for each in changes}
        with self._turn() as store:
            held = self._stored(store, view, list(ids))
            made: list[tuple[Any, ...]] = []
            kinds: dict[str, str] = {}
            for entity, each in ids.items():
                old, stamp = held.values.get(entity), held.stamps.get(entity)
                row = changes[each](decoded(old, stamp) if old and stamp else None)
                if row is not None:
                    kinds = kinds or self._kinds(store, view, old)
                    new, age = prepared(view, each, row, kinds, stamp.base if stamp else 0)
                    made += lines(entity, new, min(kinds), age)
            store.executemany(upsert(self._project, view), made)

    def remove(self, view: str, key: str, ids: Iterable[str]) -> int:
        """Remove rows; see `OnlineStore`."""
        with self._turn() as store:
            return self._remove(store, view, [encode_key(key, each) for each in ids])

    def retain(
        self,
        view: str,
        key: str,
        since: datetime,
        remainder: Callable[[Row], Row | None] | None = None,
    ) -> int:
        """Remove the rows that no snapshot since has held; see `OnlineStore`."""
        del key
        limit = microseconds(since, "since")
        removed = 0
        with self._turn() as store:
            # Gathered first: a table isn't changed while it is walked through.
            ages = every_age(store, self._project, view)
            gone = [entity for entity, stamp in ages if stamp.base < limit]
            for some in chunks(gone):
                kept = self._keep(store, view, some, remainder) if remainder else set()
                removed += self._remove(store, view, [each for each in some if each not in kept])
        return removed

    def drop(self, view: str) -> None:
        """Remove a view with all its rows; see `OnlineStore`."""
        with self._turn() as store:
            store.execute(f"DROP TABLE IF EXISTS {table(self._project, view)}")
            if _has_catalogue(store):
                known = (self._project, view)
                store.execute("DELETE FROM ostinato_views WHERE project = ? AND view = ?", known)

    def close(self) -> None:
        """Close every connection; the store can't be used any more."""
        self._readers.close()
        self._writers.close()

    def _read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with readable(self._path):
            return self._readers.get().execute(statement, values).fetchall()

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        """Be the one who writes; everything is undone if the block fails."""
        with readable(self._path):
            store = self._writers.get()
            store.execute("BEGIN IMMEDIATE")
            try:
                yield store
                store.execute("COMMIT")
            except BaseException:
                # A full disk has rolled back by itself.
                if store.in_transaction:
                    store.execute("ROLLBACK")
                raise

    def _declare(
        self, store: sqlite3.Connection, view: str, key: str, kinds: Mapping[str, str]
    ) -> None:
        create(store, self._project, view)
        store.execute(
            "CREATE TABLE IF NOT EXISTS ostinato_views (project TEXT, view TEXT, join_key TEXT, "
            "kinds TEXT, PRIMARY KEY (project, view))"
        )
        store.execute(
            "INSERT OR REPLACE INTO ostinato_views VALUES (?, ?, ?, ?)",
            (self._project, view, key, json.dumps(kinds, sort_keys=True)),
        )

    def _kinds(
        self, store: sqlite3.Connection, view: str, held: Mapping[str, bytes] | None
    ) -> dict[str, str]:
        """Return the kinds of a view's features as declared, or else as a stored row tells."""
        if _has_catalogue(store):
            statement = "SELECT kinds FROM ostinato_views WHERE project = ? AND view = ?"
            for (text,) in store.execute(statement, (self._project, view)):
                declared: dict[str, str] = json.loads(text)
                return declared
        told = {name: kind_of(value) for name, value in (held or {}).items()}
        known = {name: kind for name, kind in told.items() if kind is not None}
        return known or _unknown(self._path, self._project, view)

    def _stored(self, store: sqlite3.Connection, view: str, keys: list[bytes]) -> Any:
        try:
            return stored(store, self._project, view, keys)
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return _unknown(self._path, self._project, view)

    def _put(
        self,
        store: sqlite3.Connection,
        view: str,
        rows: Rows,
        kinds: Mapping[str, str],
        merge: Merge | None,
    ) -> Written:
        ages = stored_ages(store, self._project, view, rows.keys, min(rows.values, default=""))
        verdict = judge(rows.stamps, [ages.get(key) for key in rows.keys], merge)
        put = columns(rows.keys, rows.values, rows.stamps, verdict.put)
        store.executemany(upsert(self._project, view), put)
        if merge and verdict.merged:
            held = self._stored(store, view, [rows.keys[index] for index in verdict.merged])
            for index in verdict.merged:
                key = rows.keys[index]
                row = made_now(merge(rows.row(index), decoded(held.values[key], held.stamps[key])))
                new, age = prepared(view, rows.ids[index], row, kinds, rows.stamps[index].created)
                store.executemany(upsert(self._project, view), lines(key, new, min(kinds), age))
        count = len(verdict.put) + len(verdict.merged)
        return Written(count, len(verdict.merged), verdict.stale + rows.older)

    def _keep(
        self,
        store: sqlite3.Connection,
        view: str,
        keys: Sequence[bytes],
        remainder: Callable[[Row], Row | None],
    ) -> set[bytes]:
        """Write what remains of some rows; return the keys of those of which something does."""
        held = stored(store, self._project, view, keys)
        kept = set()
        for entity, old in held.values.items():
            row = remainder(decoded(old, held.stamps[entity]))
            if row is not None:
                kinds = self._kinds(store, view, old)
                new, age = prepared(view, decode_key(entity), row, kinds, 0)
                store.executemany(upsert(self._project, view), lines(entity, new, min(kinds), age))
                kept.add(entity)
        return kept

    def _remove(self, store: sqlite3.Connection, view: str, keys: list[bytes]) -> int:
        name = table(self._project, view)
        removed = 0
        for some in chunks(keys):
            found = f"SELECT count(DISTINCT entity_key) FROM {name} WHERE entity_key IN "  # noqa: S608
            removed += store.execute(f"{found}({marks(some)})", some).fetchone()[0]
            store.execute(f"DELETE FROM {name} WHERE entity_key IN ({marks(some)})", some)  # noqa: S608
        return removed


def _has_catalogue(store: sqlite3.Connection) -> bool:
    found = store.execute("SELECT 1 FROM sqlite_master WHERE name = 'ostinato_views'").fetchone()
    return found is not None


def _unknown(path: Path, project: str, view: str) -> Any:
    raise FeatureError(
        f"the feature store {path} doesn't know the view {view} of {project}",
        "apply the definitions or publish once: `ostinato run`",
    )
