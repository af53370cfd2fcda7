"""Progress of long work, told to whoever started it.

A step runs in its own process (KFP's runner), so it can't draw on the terminal of the person
who waits. `track` appends one JSON line per update to the file named by the environment
variable `OSTINATO_PROGRESS`; the command line draws bars from it. Without that variable the
updates go to the log, at most one every ten seconds.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

VARIABLE = "OSTINATO_PROGRESS"
_LOG_EVERY_S = 10.0
_WRITE_EVERY_S = 0.1

T = TypeVar("T")
logger = logging.getLogger(__name__)


def announce(step: str) -> None:
    """Tell whoever waits that a step of the pipeline has begun."""
    _append({"step": step})


def _append(record: dict[str, object]) -> bool:
    """Append a record to the progress file; False if nobody asked for one."""
    path = os.environ.get(VARIABLE)
    if not path:
        return False
    with Path(path).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
    return True


class Progress:
    """Tells how far one piece of work is.

    Args:
        label: what is being done, in a few words ("encode item text").
        total: number of units, or None where it isn't known.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._told = 0.0
        self._tell(force=True)

    def advance(self, by: int = 1, note: str = "") -> None:
        """Count `by` more units as done; `note` is a short figure ("loss 4.21")."""
        self.done += by
        self._tell(note, force=self.total is not None and self.done >= self.total)

    def _tell(self, note: str = "", *, force: bool = False) -> None:
        now = time.monotonic()
        pause = _WRITE_EVERY_S if VARIABLE in os.environ else _LOG_EVERY_S
        if not force and now - self._told < pause:
            return
        self._told = now
        record = {"label": self.label, "done": self.done, "total": self.total, "note": note}
        if not _append(record):
            logger.info("%s: %s of %s %s", self.label, self.done, self.total or "?", note)


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items` and tell the progress under `label`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    progress = Progress(label, total)
    for item in items:
        yield item
        progress.advance()
