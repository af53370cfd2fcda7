"""A memory of what was asked for last, within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Bounded(Generic[Value]):
    """Values by name, those that were asked for longest ago forgotten first.

    Safe between threads.

    Args:
        megabytes: the bound.
        size_of: bytes of a value and its entry, about.
    """

    def __init__(self, megabytes: float, size_of: Callable[[Value], int]) -> None:
        self._bound = int(megabytes * 2**20)
        self._size_of = size_of
        self._size = 0
        self._kept: OrderedDict[bytes, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept, about."""
        return self._size

    def find(self, name: bytes) -> Value | None:
        """Return what is kept by a name; None where nothing is."""
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def keep(self, name: bytes, value: Value) -> None:
        """Keep a value in place of what was kept by its name."""
        with self._lock:
            self._drop(name)
            self._kept[name] = value
            self._size += self._size_of(value)
            while self._size > self._bound:
                self._drop(next(iter(self._kept)))

    def forget(self, name: bytes) -> None:
        """Keep nothing by a name."""
        with self._lock:
            self._drop(name)

    def _drop(self, name: bytes) -> None:
        old = self._kept.pop(name, None)
        if old is not None:
            self._size -= self._size_of(old)
