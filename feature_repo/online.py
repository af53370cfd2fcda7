"""Reading the embedded online store without the Feast SDK: what the model server does.

One indexed read per question, from Feast's own tables; starts at once and reads, value for
value, what the SDK would.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from feature_repo.locations import online_db
from feature_repo.sqlite import connect, readable, table
from feature_repo.wire import decode_key, decode_value, encode_key
from recommender.errors import FeatureError
from recommender.workspace import Workspace

_MOST_KEYS = 500
"""Keys per query; SQLite's limit on variables is above it everywhere."""


@dataclass(frozen=True)
class UserHistory:
    """A user's most recent events; the first four are parallel, oldest event first.

    Attributes:
        item_ids: items, by id.
        actions: event types, by name.
        times: UTC milliseconds.
        values: what the events carried; NaN where nothing.
        as_of_ms: UTC milliseconds; the history holds the events strictly before it.
    """

    item_ids: tuple[str, ...]
    actions: tuple[str, ...]
    times: tuple[int, ...]
    values: tuple[float, ...]
    as_of_ms: int

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class ItemText:
    """What is said about an item.

    Attributes:
        title: as in the catalogue, if it has one.
        text: what was encoded.
        vector: of length 1; all zeros where there is no text.
        encoder: name@revision.
        content_hash: SHA-256 of the text.
    """

    title: str | None
    text: str
    vector: tuple[float, ...]
    encoder: str
    content_hash: str


@dataclass(frozen=True)
class ItemAttributes:
    """An item's plain attributes; None where unknown."""

    categories: tuple[str, ...]
    brand: str | None
    price: float | None


class OnlineFeatures:
    """The online features of one Feast project, read only; safe to share between threads.

    Args:
        paths: the workspace.
        project: Feast project (`feature_repo.store.project_name`).

    Raises:
        FeatureError: there is no store, it can't be read, or the project was never published.
    """

    def __init__(self, paths: Workspace, project: str) -> None:
        self._path: Path = online_db(paths)
        self._project = project
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        found = self._query("SELECT name FROM sqlite_master WHERE name = ?", self._sequences)
        if not found:
            raise FeatureError(
                f"the feature store {self._path} has no project {project!r}",
                "publish its features first: `ostinato run`",
            )

    def user_history(self, user_id: str) -> UserHistory | None:
        """Return a user's history, or None for a user without one.

        Raises:
            FeatureError: the store can't be read.
        """
        return self.user_histories([user_id])[0]

    def user_histories(self, user_ids: Iterable[str]) -> list[UserHistory | None]:
        """Return the histories of many users, in order; None for a user without one.

        Raises:
            FeatureError: the store can't be read.
        """
        return [
            None
            if row is None
            else UserHistory(
                tuple(row["item_ids"]),
                tuple(row["actions"]),
                tuple(row["times"]),
                tuple(row["values"]),
                int(row["as_of"]),
            )
            for row in self.rows("user_sequence", "user_id", user_ids)
        ]

    def user_attributes(self, user_id: str) -> dict[str, str] | None:
        """Return what is known of a user besides events, or None for an unknown one."""
        (row,) = self.rows("user_profile", "user_id", [user_id])
        return None if row is None else json.loads(row["attributes"])

    def item_text(self, item_id: str) -> ItemText | None:
        """Return what is said about an item, or None for an unknown one."""
        (row,) = self.rows("item_text", "item_id", [item_id])
        return None if row is None else ItemText(**{**row, "vector": tuple(row["vector"])})

    def item_attributes(self, item_id: str) -> ItemAttributes | None:
        """Return an item's plain attributes, or None for an unknown one."""
        (row,) = self.rows("item_attributes", "item_id", [item_id])
        if row is None:
            return None
        price = row["price"]
        # A null of a numeric column passes through pandas on its way here and may be NaN.
        known = price is not None and not math.isnan(price)
        return ItemAttributes(tuple(row["categories"]), row["brand"], price if known else None)

    def users(self) -> list[str]:
        """Return the ids of all users who have a history, sorted."""
        # The key of the table is (entity_key, feature_name): one feature finds each user once.
        rows = self._query(
            f"SELECT entity_key FROM {table(self._project, 'user_sequence')} "  # noqa: S608
            "WHERE feature_name = 'as_of'"
        )
        return sorted(decode_key(bytes(key)) for (key,) in rows)

    def rows(self, view: str, key: str, ids: Iterable[str]) -> list[dict[str, Any] | None]:
        """Return the features of a view by name, one dictionary per id; None for an unknown id.

        Args:
            view: name of the feature view.
            key: its join key.
            ids: values of the join key.

        Raises:
            FeatureError: the store can't be read, or lacks this view.
        """
        keys = [encode_key(key, each) for each in ids]
        found: dict[bytes, dict[str, Any]] = {}
        for start in range(0, len(keys), _MOST_KEYS):
            part = keys[start : start + _MOST_KEYS]
            rows = self._query(
                f"SELECT entity_key, feature_name, value FROM {table(self._project, view)} "  # noqa: S608
                f"WHERE entity_key IN ({','.join('?' * len(part))})",
                *part,
            )
            for entity, feature, value in rows:
                found.setdefault(bytes(entity), {})[feature] = decode_value(value)
        return [found.get(each) for each in keys]

    def close(self) -> None:
        """Close every connection; the reader can't be used any more."""
        with self._lock:
            for store in self._opened:
                store.close()
            self._opened.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _sequences(self) -> str:
        return f"{self._project}_user_sequence"

    def _query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with readable(self._path):
            return self._store().execute(statement, values).fetchall()

    def _store(self) -> sqlite3.Connection:
        """Return this thread's own connection: readers don't wait for each other.

        It is opened anew when another file has taken the store's place: an open connection
        would go on reading the one that was moved away.
        """
        try:
            found = self._path.stat()
        except OSError:
            self._local.file = None
            return connect(self._path)  # says that there is none, and what to do
        file = (found.st_dev, found.st_ino)
        if getattr(self._local, "file", None) != file:
            self._local.store = connect(self._path)
            self._local.file = file
            with self._lock:
                self._opened.append(self._local.store)
        store: sqlite3.Connection = self._local.store
        return store
