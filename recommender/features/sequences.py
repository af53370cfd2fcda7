"""User sequences as of a moment: the one truth that training, evaluation and serving share.

The rule: **a history as of t holds the user's events strictly before t**, oldest first, ties in
time ordered by event id, cut to the most recent `limit`. Events at t itself (the other lines of
the same basket) are not seen, because at the moment of asking they had not happened yet.

Shape letters: E events, U users, B histories in a batch, T events in all of them (jagged).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.errors import FeatureError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """The items in tensor order: row i of every item tensor is `ids[i]`."""

    ids: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each id."""
        return {item: row for row, item in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)


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
    """

    items: NDArray[np.int32]
    actions: NDArray[np.int8]
    times: Ints
    values: NDArray[np.float32]
    offsets: Ints
    now: Ints

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


@dataclass(frozen=True)
class EventLog:
    """Events sorted by (user, time, event id), as parallel arrays.

    Attributes:
        users: ids in the order of `offsets`, (U,).
        offsets: user u's events are `[offsets[u], offsets[u + 1])`, (U + 1,) int64.
        items, actions, times, values: as in `Histories`, (E,).
    """

    users: tuple[str, ...]
    offsets: Ints
    items: NDArray[np.int32]
    actions: NDArray[np.int8]
    times: Ints
    values: NDArray[np.float32]

    @classmethod
    def build(cls, events: pa.Table, catalogue: Catalogue, actions: ActionsConfig) -> EventLog:
        """Sort canonical events into a log.

        Args:
            events: the canonical table (see `recommender.tables.EVENTS`).
            catalogue: the items; every event's item must be among them.
            actions: the event types; every event's type must be among them.

        Raises:
            FeatureError: an event names an item or a type that isn't known.
        """
        frame = pd.DataFrame(
            {
                "user": events["user_id"].to_pandas(),
                "item": events["item_id"].to_pandas(),
                "event": events["event"].to_pandas(),
                "time": events["time"].cast(pa.int64()).to_numpy(),
                "value": events["value"].to_numpy(zero_copy_only=False),
                "event_id": events["event_id"].to_pandas(),
            }
        )
        frame = frame.sort_values(["user", "time", "event_id"], kind="stable", ignore_index=True)
        items = frame["item"].map(catalogue.index)
        if items.isna().any():
            unknown = frame.loc[items.isna(), "item"]
            raise FeatureError(
                f"{len(unknown)} events name items that the catalogue lacks, e.g. "
                f"{unknown.iloc[0]!r}",
                "validation removes such events; run the validate step on this data",
            )
        codes = frame["event"].map({name: actions.code(name) for name in actions.types})
        if codes.isna().any():
            unknown = frame.loc[codes.isna(), "event"]
            raise FeatureError(
                f"{len(unknown)} events are of a type that actions.types lacks, e.g. "
                f"{unknown.iloc[0]!r}",
                f"configured are {', '.join(actions.types)}",
            )
        users, counts = np.unique(frame["user"].to_numpy(str), return_counts=True)
        return cls(
            tuple(str(user) for user in users),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            items.to_numpy().astype(np.int32),
            codes.to_numpy().astype(np.int8),
            frame["time"].to_numpy().astype(np.int64),
            frame["value"].to_numpy().astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def user_of_event(self) -> Ints:
        """Row of each event's user, (E,)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.offsets))

    def where(self, keep: NDArray[np.bool_]) -> EventLog:
        """Return the log with only the events where `keep` (E,) holds; users stay as they are."""
        counts = np.bincount(self.user_of_event[keep], minlength=len(self.users))
        return EventLog(
            self.users,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.items[keep],
            self.actions[keep],
            self.times[keep],
            self.values[keep],
        )

    def of_types(self, names: Iterable[str], actions: ActionsConfig) -> EventLog:
        """Return the log with only the events of the named types."""
        return self.where(np.isin(self.actions, [actions.code(name) for name in names]))

    def before(self, time: int) -> EventLog:
        """Return the log with only the events strictly before `time` (ms)."""
        return self.where(self.times < time)

    def windows(self, users: Ints, times: Ints, limit: int) -> tuple[Ints, Ints]:
        """Find the histories as of (user, time) pairs.

        Args:
            users: rows into `users`, (B,).
            times: moments of asking, ms, (B,).
            limit: most recent events kept.

        Returns:
            start and stop offsets into the log, (B,) each: the events strictly before `times`.
        """
        low, span = self._time_range
        clipped = np.clip(times - low, 0, span)
        stop = np.searchsorted(self._sort_key, users * (span + 1) + clipped, side="left")
        return np.maximum(self.offsets[users], stop - limit), stop.astype(np.int64)

    def histories(self, users: Ints, times: Ints, limit: int) -> Histories:
        """Return the histories as of (user, time) pairs; arguments as in `windows`."""
        start, stop = self.windows(users, times, limit)
        offsets = np.concatenate([[0], np.cumsum(stop - start)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - start, stop - start)
        return Histories(
            self.items[rows],
            self.actions[rows],
            self.times[rows],
            self.values[rows],
            offsets,
            np.asarray(times, np.int64),
        )

    @cached_property
    def _time_range(self) -> tuple[int, int]:
        if not len(self):
            return 0, 1
        low, high = int(self.times.min()), int(self.times.max())
        span = high - low + 1
        if (len(self.users) + 1) * (span + 1) > np.iinfo(np.int64).max:
            raise FeatureError("too many users over too long a time for one log; shard it by user")
        return low, span

    @cached_property
    def _sort_key(self) -> Ints:
        low, span = self._time_range
        return self.user_of_event * (span + 1) + (self.times - low)
