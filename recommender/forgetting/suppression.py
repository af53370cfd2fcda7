"""Who asked to be forgotten: kept out of every ingest and every stream, known by pseudonym only.

The company's log isn't ours, so the person is still in it and would come back with the next run.
`<workspace>/privacy/suppressed.json` holds their pseudonyms, and the day they asked. It is the one
place where a pseudonym stays, because without it nobody could be kept out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recommender.errors import ConfigError, StorageError
from recommender.files import read_json, write_json
from recommender.privacy import VARIABLE, Pseudonyms, pseudonyms
from recommender.sources.report import IngestReport
from recommender.tables import Tables
from recommender.workspace import Workspace

FILE = "suppressed.json"
FORMAT = 1
REASON = "the user asked to be forgotten"
_PURPOSE = "suppression list"


class _Read(NamedTuple):
    """The list as it was when the file had this mark; None: there was no file."""

    mark: tuple[int, int, int] | None
    since: dict[str, str]


class Suppressions:
    """The suppression list of a workspace; safe to share between threads.

    Every question looks whether the file has changed (one `stat`, microseconds), so a consumer
    that runs for months follows at once.

    Args:
        paths: the workspace.
    """

    def __init__(self, paths: Workspace) -> None:
        self._path = paths.privacy / FILE
        self._keys = paths.keys
        self._names: Pseudonyms | None = None
        self._read = _Read(None, {})

    def __len__(self) -> int:
        return len(self._current())

    def __contains__(self, user_id: str) -> bool:
        return self.is_suppressed(user_id)

    def is_suppressed(self, user_id: str) -> bool:
        """Tell whether a user asked to be forgotten.

        Raises:
            ConfigError: the list was written with another pseudonym key.
            StorageError: it can't be read.
        """
        current = self._current()
        return bool(current) and self._pseudonyms().of(user_id) in current

    def holds(self, pseudonym: str) -> bool:
        """Tell whether the user behind a pseudonym asked to be forgotten; see `is_suppressed`."""
        return pseudonym in self._current()

    def since(self, user_id: str) -> str | None:
        """Return when a user was put on the list (UTC, ISO 8601), or None."""
        current = self._current()
        return current.get(self._pseudonyms().of(user_id)) if current else None

    def add(self, user_id: str) -> bool:
        """Put a user on the list; whoever is on it stays. The caller sees to it that it is alone.

        Returns:
            whether the user was not on it before.
        """
        current = dict(self._current())
        pseudonym = self._pseudonyms().of(user_id)
        if pseudonym in current:
            return False
        current[pseudonym] = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"format": FORMAT, "key": self._key_mark(), "suppressed": current}
        write_json(self._path, told)
        return True

    @property
    def digest(self) -> str:
        """What tells one list from another; "" for an empty one."""
        current = self._current()
        return self._pseudonyms().derived(_PURPOSE, " ".join(sorted(current))) if current else ""

    def among(self, user_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return which ids are on the list; false where there is no id."""
        current = self._current()
        if not current:
            return pa.chunked_array([pa.repeat(False, len(user_ids))])
        distinct = pc.drop_null(pc.unique(user_ids.cast(pa.string())))
        names = self._pseudonyms()
        gone = [user for user in distinct.to_pylist() if names.of(user) in current]
        return pc.is_in(user_ids, value_set=pa.array(gone, pa.string()))

    def kept_out(self, tables: Tables, report: IngestReport) -> Tables:
        """Return the tables without anybody on the list; the report says how many rows went."""
        if not len(self):
            return tables
        kept = {}
        for name in ("events", "users", "follows"):
            table: pa.Table | None = getattr(tables, name)
            if table is None:
                continue
            gone = self.among(table["user_id"])
            if "followed_user_id" in table.column_names:
                gone = pc.or_(gone, self.among(table["followed_user_id"]))
            count = pc.sum(gone).as_py() or 0
            # No example: a row's number in the source would lead back to the person.
            report.drop(name, REASON, count, "not shown")
            kept[name] = table.filter(pc.invert(gone)) if count else table
            if name in report.rows_kept:
                report.rows_kept[name] = kept[name].num_rows
        return replace(tables, **kept)

    def _current(self) -> dict[str, str]:
        mark = _mark(self._path)
        read = self._read
        if read.mark != mark:
            # One assignment, so that another thread sees the old or the new list.
            self._read = read = _Read(mark, self._load() if mark else {})
        return read.since

    def _load(self) -> dict[str, str]:
        told = read_json(self._path)
        try:
            if told["format"] != FORMAT:
                raise StorageError(f"{self._path} is of a format that this version doesn't know")
            key, since = str(told["key"]), _texts(told["suppressed"])
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self._path} is no suppression list: {error!r}",
                "restore it from a backup: without it, forgotten users come back",
            ) from error
        if since and key != self._key_mark():
            raise ConfigError(
                f"{self._path} was written with another pseudonym key, so the {len(since)} "
                "users on it can't be told from others",
                f"give the key it was written with ({VARIABLE}, or keys/pseudonym.key)",
            )
        return since

    def _pseudonyms(self) -> Pseudonyms:
        if self._names is None:
            self._names = pseudonyms(self._keys)
        return self._names

    def _key_mark(self) -> str:
        return self._pseudonyms().derived(_PURPOSE)


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(day) for name, day in value.items()}
