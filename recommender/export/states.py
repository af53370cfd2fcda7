"""What was worked out for histories before: by content, so that it can't be out of date.

A history that is asked about again (another page, another surface, the chances of each event type
after the list) has its last state at once; one that has grown is read from the keys and values of
its earlier events, as far as they are kept. Where a history has reached the model's limit its
oldest event drops out, which changes every state behind it: such a one is read anew.

Shape letters: T events, D width, H heads, S states, K width of a head.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recommender.export.bounded import Bounded
from recommender.model.blocks import KeysValues


@dataclass(frozen=True)
class Events:
    """One history: item rows, event-type codes and UTC milliseconds, each (T,) int64."""

    items: NDArray[np.int64]
    actions: NDArray[np.int64]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    def name(self) -> bytes:
        """Return what the events are called, by their content."""
        return hashlib.blake2b(self._rows().tobytes(), digest_size=16).digest()

    def beginnings(self) -> list[bytes]:
        """Return what the first T - 1 events, …, the first one alone would be called."""
        digest, names = hashlib.blake2b(digest_size=16), []
        for row in self._rows()[:-1]:
            digest.update(row.data)
            names.append(digest.digest())
        return names[::-1]

    def _rows(self) -> NDArray[np.int64]:
        return np.stack([self.items, self.actions, self.times], axis=1)


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
        self._kept: Bounded[Kept] = Bounded(megabytes, lambda kept: kept.size)
        self.hits = 0
        self.grown = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that are kept, about."""
        return self._kept.size

    def find(self, events: Events) -> Kept | None:
        """Return what is kept of these events or, with keys and values, of their beginning."""
        if (whole := self._kept.find(events.name())) is not None:
            self.hits += 1
            return whole
        for name in events.beginnings() if self.keys_values else ():
            if (kept := self._kept.find(name)) is not None:
                self.grown += 1
                return kept
        self.misses += 1
        return None

    def keep(self, kept: Kept, grown: Kept | None = None) -> None:
        """Keep a history, in place of that which it has grown from, if any."""
        if grown is not None:
            self._kept.forget(grown.events.name())
        self._kept.keep(kept.events.name(), kept)
