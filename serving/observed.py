"""What the router saw of each live request, for whoever judges a rollout.

The router collects rows and writes them twice a second into small files that never change; the
reader takes them in the order of time and removes what it has put down elsewhere. Neither waits
for the other. Where nobody reads, the oldest files go.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from recommender.errors import StorageError

FLUSH_S = 0.5
_FILES = 7200  # an hour's worth
_ROWS = 100_000
logger = logging.getLogger("ostinato.router")


def folder_of(routes: Path) -> Path:
    """Return where the router that reads these routes writes what it sees."""
    return routes.parent / "observed"


class Writer:
    """Collects rows; a failure to write them is logged, and fails nobody.

    Args:
        folder: of this kind of rows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._number = 0
        self.lost = 0

    def add(self, row: dict[str, Any]) -> None:
        """Keep one row until the next `flush`; beyond a limit it is counted and left out."""
        if len(self._rows) < _ROWS:
            self._rows.append(row)
        else:
            self.lost += 1

    def flush(self) -> None:
        """Write the rows that were collected."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._number += 1
        name = f"{int(time.time() * 1000):014}-{os.getpid()}-{self._number:06}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            half = self._folder / f".{name}"
            half.write_bytes(b"\n".join(map(orjson.dumps, rows)))
            half.rename(self._folder / f"{name}.jsonl")
            if self._number % 100 == 0:
                for old in sorted(self._folder.glob("*.jsonl"))[:-_FILES]:
                    old.unlink(missing_ok=True)
        except OSError as error:
            self.lost += len(rows)
            logger.warning("%d rows could not be written: %s", len(rows), error)


class Reader:
    """Reads the rows of one kind, each file once.

    Args:
        folder: of this kind of rows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: list[Path] = []

    def take(self) -> Sequence[dict[str, Any]]:
        """Return the rows that have come since the last call.

        What the last call returned is removed now: it is put down elsewhere, or this call would
        not be made.

        Raises:
            StorageError: a file can't be read.
        """
        for path in self._read:
            path.unlink(missing_ok=True)
        self._read = sorted(self._folder.glob("*.jsonl"))
        try:
            return [
                orjson.loads(line) for path in self._read for line in path.read_bytes().split(b"\n")
            ]
        except (OSError, ValueError) as error:
            raise StorageError(f"what the router saw can't be read: {error}") from error

    def clear(self) -> None:
        """Remove everything that was not read: it is of another rollout."""
        for path in self._folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)
        self._read = []
