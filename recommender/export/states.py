"""What was worked out for histories before: by content, so that it can't be out of date.

A history that is asked about again (another page, another surface, the chances of each event type
after the list) has its last state at once; one that has grown is read from the keys and values of
its earlier events, as far as they are kept. Where a history has reached the model's limit its
oldest event drops out, which changes every state behind it: such a one is read anew.

Shape letters: T events, D width, H heads, S states, K width of a head.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recommender.model.blocks import KeysValues


@dataclass(frozen=True)
class Events:
    """One history: item rows, event-type codes and UTC milliseconds, each (T,) int64."""

    items: NDArray[np.int64]
    actions: NDArray[np.int64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def key(self) -> bytes:
        """What stays the same when events are added: how the history begins."""
        start = (self.items[:1], self.actions[:1], self.times[:1])
        return b"".join(part.tobytes() for part in start)

    def begins(self, longer: Events) -> bool:
        """Tell whether `longer` is this history and perhaps more."""
        count = len(self)
        return (
            count <= len(longer)
            and np.array_equal(self.times, longer.times[:count])
            and np.array_equal(self.items, longer.items[:count])
            and np.array_equal(self.actions, longer.actions[:count])
        )


@dataclass(frozen=True)
class Kept:
    """What is kept of one history.

    Attributes:
        events: it.
        state_D: its last state, before the moment of asking comes in.
        past: by block, keys and values of its states, each (1, H, S, K); or None.
        answers: keys and values of its states for candidates; None where the ranking head does
            not look at the history.
    """

    events: Events
    state_D: Tensor
    past: tuple[KeysValues, ...] | None
    answers: KeysValues | None = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        pairs = (*(self.past or ()), *([self.answers] if self.answers else ()))
        past = sum(int(part.nbytes) for pair in pairs for part in pair)
        return past + int(self.state_D.nbytes) + 24 * len(self.events) + 512


class States:
    """The histories that were asked about last, within a bound of memory. Safe between threads.

    Args:
        megabytes: the bound.
        keys_values: whether keys and values are kept, too; they are about 200 times as large.
    """

    def __init__(self, megabytes: float, *, keys_values: bool) -> None:
        self.keys_values = keys_values
        self._bound = int(megabytes * 2**20)
        self._size = 0
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.grown = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept, about."""
        return self._size

    def find(self, events: Events) -> Kept | None:
        """Return what is kept of these events or, with keys and values, of their beginning."""
        with self._lock:
            kept = self._kept.get(events.key)
            whole = kept is not None and len(kept.events) == len(events)
            if kept is None or not (whole or kept.past) or not kept.events.begins(events):
                self.misses += 1
                return None
            self._kept.move_to_end(events.key)
            if whole:
                self.hits += 1
            else:
                self.grown += 1
            return kept

    def keep(self, kept: Kept) -> None:
        """Keep a history in place of what was kept of its beginning."""
        key = kept.events.key
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += kept.size - (old.size if old else 0)
            self._kept[key] = kept
            while self._size > self._bound and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._size -= dropped.size
