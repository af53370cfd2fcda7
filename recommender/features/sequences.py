"""User sequences as of a moment: the one truth that training, evaluation and serving share.

The rule: **a history as of t holds the user's events strictly before t**, oldest first, ties in
time ordered by event id, cut to the most recent `limit`. Events at t itself (the other lines of
the same basket) are not seen, because at the moment of asking they had not happened yet.

What follows from it, and what else is agreed (told in `docs/features.md`, held to by
`tests/feature_repo/test_parity.py`):

- *Late and out of order*: an event belongs where its own time puts it, however late it arrives.
  Training sees it from its time on; serving from its arrival on.
- *Ties*: event ids in the order of their code points, so that every replay gives the same.
- *Duplicates*: one id is one event. Delivered again it changes nothing; used for another event,
  the first one keeps it.
- *Time*: UTC milliseconds, of any sign. Sources turn local times into it when they are read.
- *Deleted users and items*: their events are removed from the canonical tables, and with the next
  log they are in nobody's history.

Shape letters: E events, U users, B histories in a batch, T events in all of them (jagged).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.errors import FeatureError
from recommender.features.catalogue import Catalogue
from recommender.features.event_codes import require_known, surface_codes, type_codes
from recommender.features.event_order import in_order, taken
from recommender.features.histories import Histories, Ints

__all__ = ["Catalogue", "EventLog", "Histories", "Ints"]


@dataclass(frozen=True)
class Exposures:
    """How items came to be in front of users: what off-policy evaluation weighs.

    Attributes:
        positions: place in the list, 1 …; 0 where it was not logged, (E,).
        propensities: with which probability the policy showed the item there; NaN where that
            was not logged, (E,).
    """

    positions: NDArray[np.int32]
    propensities: NDArray[np.float64]

    @classmethod
    def build(cls, events: pa.Table, rows: Ints) -> Exposures | None:
        """Read them from canonical events in the given order; None if no event has any."""
        if events["propensity"].null_count == len(events):
            return None
        places = events["position"].fill_null(0).to_numpy()
        chances = events["propensity"].to_numpy(zero_copy_only=False)
        return cls(places[rows].astype(np.int32), chances[rows].astype(np.float64))

    def where(self, keep: NDArray[np.bool_]) -> Exposures:
        """Return those of some events."""
        return Exposures(self.positions[keep], self.propensities[keep])


@dataclass(frozen=True)
class EventLog:
    """Events sorted by (user, time, event id), as parallel arrays.

    Attributes:
        users: ids in the order of `offsets`, (U,).
        offsets: user u's events are `[offsets[u], offsets[u + 1])`, (U + 1,) int64.
        items, actions, times, values, event_ids: as in `Histories`, (E,).
        exposures: how each item came to be in front of the user, if the log carries that.
        people: what is known of each user besides events, (U,), where somebody needs it.
        surfaces: as in `Histories`, (E,).
    """

    users: tuple[str, ...]
    offsets: Ints
    items: NDArray[np.int32]
    actions: NDArray[np.int8]
    times: Ints
    values: NDArray[np.float32]
    event_ids: pa.Array | None = None
    exposures: Exposures | None = None
    people: tuple[Mapping[str, str] | None, ...] | None = None
    surfaces: NDArray[np.int8] | None = None

    @classmethod
    def build(
        cls,
        events: pa.Table,
        catalogue: Catalogue,
        actions: ActionsConfig,
        *,
        event_ids: bool = False,
        exposures: bool = False,
    ) -> EventLog:
        """Sort canonical events into a log.

        Args:
            events: the canonical table (see `recommender.tables.EVENTS`).
            catalogue: the items; every event's item must be among them.
            actions: the event types; every event's type must be among them.
            event_ids: whether the log carries the ids of its events.
            exposures: whether it carries how items came to be in front of users.

        Raises:
            FeatureError: an event names an item or a type that isn't known, or has no user or
                no time.
        """
        users, offsets, rows = in_order(events)
        items = catalogue.rows(events["item_id"])
        require_known(
            items >= 0,
            events["item_id"],
            rows,
            "name items that the catalogue lacks",
            "validation removes such events; run the validate step on this data",
        )
        kinds = type_codes(events["event"], actions)
        require_known(
            kinds > 0,
            events["event"],
            rows,
            "are of a type that actions.types lacks",
            f"configured are {', '.join(actions.types)}",
        )
        values = events["value"].to_numpy(zero_copy_only=False)
        return cls(
            users,
            offsets,
            items[rows],
            kinds[rows],
            events["time"].cast(pa.int64()).to_numpy()[rows],
            values[rows].astype(np.float32),
            taken(events["event_id"], rows) if event_ids else None,
            Exposures.build(events, rows) if exposures else None,
            surfaces=surface_codes(events["surface"], actions)[rows] if actions.surfaces else None,
        )

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def user_of_event(self) -> Ints:
        """Row of each event's user, (E,)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.offsets))

    def where(self, keep: NDArray[np.bool_]) -> EventLog:
        """Return the log with only the events where `keep` (E,) holds; users stay as they are."""
        if keep.all():
            return self
        counts = np.bincount(self.user_of_event[keep], minlength=len(self.users))
        return EventLog(
            self.users,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.items[keep],
            self.actions[keep],
            self.times[keep],
            self.values[keep],
            None if self.event_ids is None else self.event_ids.filter(pa.array(keep)),
            None if self.exposures is None else self.exposures.where(keep),
            self.people,
            None if self.surfaces is None else self.surfaces[keep],
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
        stop = _places(self._sort_key, users * (span + 1) + clipped)
        return np.maximum(self.offsets[users], stop - limit), stop

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
            None if self.event_ids is None else self.event_ids.take(pa.array(rows)),
            None if self.people is None else tuple(self.people[user] for user in users),
            None if self.surfaces is None else self.surfaces[rows],
        )

    def asked(
        self, users: Ints, times: Ints, limit: int, events: EventLog | None = None
    ) -> Histories:
        """Return the histories as of (user, time) pairs, and where each was asked for.

        That is where the user's first event of that very moment happened, if there is one: the
        answer was to be shown there. Nothing else of that event is told.

        Args:
            users: as in `windows`.
            times: as in `windows`.
            limit: as in `windows`.
            events: of the same users: those that tell where; by default the log's own.
        """
        found, told = self.histories(users, times, limit), events or self
        if told.surfaces is None or not len(told):
            return found
        _, stop = told.windows(users, times, limit)
        event = np.minimum(stop, len(told) - 1)
        there = (stop < told.offsets[users + 1]) & (told.times[event] == times)
        return replace(found, surface=np.where(there, told.surfaces[event], 0).astype(np.int8))

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


def _places(sorted_keys: Ints, asked: Ints) -> Ints:
    """Return where each key belongs, before its equals, (B,).

    Asked in rising order, a binary search finds the memory of the last one still near: for a
    million random keys that is five times faster, the sorting included.
    """
    order = np.argsort(asked)
    places = np.empty(len(asked), np.int64)
    places[order] = np.searchsorted(sorted_keys, asked[order], side="left")
    return places
