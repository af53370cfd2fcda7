"""Where rejected events go, so that a bad one neither stops a stream nor vanishes.

A file of the workspace: the lines hold what was sent, people's ids included, so it stays inside
the feature store and is readable by its owner only.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from recommender.errors import StorageError


class DeadLetters(Protocol):
    """Keeps rejected events."""

    def put(self, value: bytes, reason: str, origin: dict[str, Any]) -> None:
        """Take one rejected event.

        Args:
            value: as it came.
            reason: why it was rejected.
            origin: where it came from: topic, partition, offset …
        """
        ...

    def flush(self) -> None:
        """Return when everything taken so far is durable.

        Raises:
            StorageError: it can't be made durable; don't acknowledge.
        """
        ...


class DeadLetterFile:
    """One JSON line per rejected event, appended; safe to share between threads.

    Args:
        path: of the file; made by the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._lock = threading.Lock()

    def put(self, value: bytes, reason: str, origin: dict[str, Any]) -> None:
        """Take one rejected event; see `DeadLetters`."""
        told: dict[str, Any] = {
            "rejected": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "reason": reason,
            **origin,
        }
        try:
            told["value"] = value.decode()
        except UnicodeDecodeError:
            told["value_base64"] = base64.b64encode(value).decode()
        line = json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")
        with self._lock:
            self._waiting.append(line + b"\n")

    def flush(self) -> None:
        """Append what was taken and wait for the disk; see `DeadLetters`."""
        with self._lock:
            if not self._waiting:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    self._append(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                raise StorageError(
                    f"cannot write rejected events to {self.path}: {error.strerror or error}",
                    "free some space or check the permissions of this folder",
                ) from error
            self._waiting.clear()

    def _append(self, handle: int) -> None:
        before = os.fstat(handle).st_size
        data = b"".join(self._waiting)
        try:
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        except OSError:
            # No half line; several processes should each have a file of their own.
            os.ftruncate(handle, before)
            raise
