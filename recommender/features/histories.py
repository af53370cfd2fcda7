"""Histories as they are asked about: what a model is given of people, and of when.

How they are cut out of a log is `recommender.features.sequences`.

Shape letters: B histories in a batch, T events in all of them (jagged).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Histories:
    """A jagged batch of histories and the moments at which they are asked about.

    Attributes:
        items: catalogue rows, (T,) int32.
        actions: event-type codes, 1 … (see `ActionsConfig.code`), (T,) int8.
        times: UTC milliseconds, (T,) int64.
        values: what the event carried (a rating, a quantity) or NaN, (T,) float32.
        offsets: history b is `[offsets[b], offsets[b + 1])`, (B + 1,) int64.
        now: the moment of asking, UTC milliseconds, (B,) int64.
        event_ids: texts, (T,), where the log carries them: the online store keeps them, training
            needs none.
        people: what is known of each person besides events, or None of somebody unknown, (B,);
            read of people without history, and by models of `model.user_attributes`.
        surfaces: codes of where each event happened (`ActionsConfig.surface_code`), (T,) int8;
            None where nobody tells surfaces apart.
        surface: codes of where each answer will be shown, (B,) int8; None: not known.
    """

    items: NDArray[np.int32]
    actions: NDArray[np.int8]
    times: Ints
    values: NDArray[np.float32]
    offsets: Ints
    now: Ints
    event_ids: pa.Array | None = None
    people: tuple[Mapping[str, str] | None, ...] | None = None
    surfaces: NDArray[np.int8] | None = None
    surface: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.now)

    @property
    def lengths(self) -> Ints:
        """Events in each history, (B,)."""
        return np.diff(self.offsets)

    def slice(self, start: int, stop: int) -> Histories:
        """Return histories `start` … `stop - 1`."""
        first, last = self.offsets[start], self.offsets[min(stop, len(self))]
        return Histories(
            self.items[first:last],
            self.actions[first:last],
            self.times[first:last],
            self.values[first:last],
            self.offsets[start : stop + 1] - first,
            self.now[start:stop],
            None if self.event_ids is None else self.event_ids[first:last],
            None if self.people is None else self.people[start:stop],
            None if self.surfaces is None else self.surfaces[first:last],
            None if self.surface is None else self.surface[start:stop],
        )

    def recent(self, limit: int) -> Histories:
        """Return the histories with only their most recent `limit` events."""
        lengths = np.minimum(self.lengths, limit)
        if (lengths == self.lengths).all():
            return self
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        skipped = self.offsets[1:] - lengths - offsets[:-1]
        rows = np.arange(offsets[-1]) + np.repeat(skipped, lengths)
        return Histories(
            self.items[rows],
            self.actions[rows],
            self.times[rows],
            self.values[rows],
            offsets,
            self.now,
            None if self.event_ids is None else self.event_ids.take(pa.array(rows)),
            self.people,
            None if self.surfaces is None else self.surfaces[rows],
            self.surface,
        )

    def batches(self, size: int) -> Iterable[Histories]:
        """Yield consecutive slices of at most `size` histories."""
        for start in range(0, len(self), size):
            yield self.slice(start, min(start + size, len(self)))

    @classmethod
    def of(
        cls,
        rows: Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]],
        now: Sequence[int],
        values: Sequence[Sequence[float]] | None = None,
    ) -> Histories:
        """Build a batch from plain lists: one (items, actions, times) per history, oldest first."""
        lengths = [len(items) for items, _, _ in rows]
        total = sum(lengths)
        if values is None:
            flat_values = np.full(total, np.nan, np.float32)
        else:
            flat_values = np.array([v for row in values for v in row], np.float32)
        return cls(
            np.array([i for items, _, _ in rows for i in items], np.int32),
            np.array([a for _, actions, _ in rows for a in actions], np.int8),
            np.array([t for _, _, times in rows for t in times], np.int64),
            flat_values,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.array(now, np.int64),
        )
