"""Files of JSON lines that survive being killed: appended to, and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from recommender.errors import StorageError
from recommender.files import atomic_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class Lines:
    """JSON objects, one per line.

    Args:
        path: of the file; it may come later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """Where they lie."""
        return self._path

    def append(self, objects: Iterable[dict[str, Any]]) -> None:
        """Write objects to disk, in one go.

        Raises:
            StorageError: the disk is full or the folder can't be written.
        """
        lines = "".join(json.dumps(told, sort_keys=True) + "\n" for told in objects)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._cut_torn_line()
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(lines)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error

    def read(self) -> list[dict[str, Any]]:
        """Return all objects in the order in which they were written.

        Raises:
            StorageError: a line in the middle is damaged.
        """
        if not self._path.exists():
            return []
        *lines, torn = self._path.read_text(encoding="utf-8").split("\n")
        del torn  # "" after a whole line; else the half line of a writer that was killed
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise StorageError(f"{self._path} is damaged: {error}") from error

    def _cut_torn_line(self) -> None:
        """Remove the half line of a writer that was killed, so that nothing is glued to it."""
        if not self._path.exists():
            return
        with self._path.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - 1, 0))
            if size and stream.read(1) != b"\n":
                stream.seek(0)
                stream.truncate(stream.read().rfind(b"\n") + 1)


class Entries(Generic[T]):
    """Dataclasses, one per line. A writer that was killed may write an entry again: once counts.

    Args:
        path: of the file; it may come later.
        made: an entry from what its line holds.
        key: what two lines of the same entry share.
    """

    def __init__(
        self, path: Path, made: Callable[[dict[str, Any]], T], key: Callable[[T], Hashable]
    ) -> None:
        self._lines = Lines(path)
        self._made = made
        self._key = key

    def append(self, entries: Iterable[T]) -> None:
        """Write entries to disk, in one go.

        Raises:
            StorageError: the disk is full or the folder can't be written.
        """
        self._lines.append(asdict(entry) for entry in entries)

    def read(self) -> list[T]:
        """Return all entries, each once (the first holds), in the order of writing.

        Raises:
            StorageError: a line in the middle is damaged.
        """
        found: dict[Hashable, T] = {}
        try:
            for told in self._lines.read():
                entry = self._made(told)
                found.setdefault(self._key(entry), entry)
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(f"{self._lines.path} is damaged: {error}") from error
        return list(found.values())

    def copy(self, path: Path) -> None:
        """Write the same entries to another file, atomically."""
        with atomic_file(path) as temporary:
            Entries(temporary, self._made, self._key).append(self.read())
            temporary.chmod(0o644)
