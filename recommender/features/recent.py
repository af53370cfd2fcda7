"""One user's most recent events, kept up to date event by event.

The rule is that of `recommender.features.sequences`: order by (time, event id), keep the last
`limit`. "The last N of a set of events" is a join-semilattice (Shapiro et al., *Conflict-free
Replicated Data Types*, 2011): adding is union by event id, sort, cut. So duplicates, any order of
delivery, writers at the same time and replays all end in the same row.

Two deliveries of one event id with different contents are a defect of whoever sent them: the
first one wins, and the second is counted.

A row also remembers when each event reached us by stream (`arrivals`). A new batch snapshot holds
everything that had arrived before its reading began; what has arrived since comes on top of it
(`recommender.features.rebase`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter, le
from typing import Any, NamedTuple

EVENT_LISTS = ("item_ids", "actions", "times", "values", "event_ids", "arrivals")
"""The parallel lists of a `user_sequence` row."""

_FIELDS = ("times", "event_ids", "item_ids", "actions", "values", "arrivals", "surfaces")
"""The same lists, and that of surfaces, in the order of `Event`'s fields."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ORDER = itemgetter(0, 1)


class Event(NamedTuple):
    """One event of one user, as a sequence keeps it.

    Attributes:
        time: UTC milliseconds.
        event_id: what makes it this event and no other.
        item_id: the item.
        action: event type.
        value: what it carried, rounded to float32 as the store does; NaN where nothing.
        arrival: UTC milliseconds at which it reached us by stream; 0 where it came by batch.
        surface: where it happened, empty where that isn't known or isn't told apart; None in data
            that tells no surfaces apart.
    """

    time: int
    event_id: str
    item_id: str
    action: str
    value: float
    arrival: int = 0
    surface: str | None = None


@dataclass(frozen=True, slots=True)
class Recent:
    """One user's row: parallel sequences in the order of (time, event id), none changed in place.

    Attributes:
        times, event_ids, item_ids, actions, values, arrivals, surfaces: as in `Event`.
        as_of: UTC milliseconds; every event is strictly before it, and everything that had
            reached us by then is in.
    """

    times: Sequence[int]
    event_ids: Sequence[str]
    item_ids: Sequence[str]
    actions: Sequence[str]
    values: Sequence[float]
    arrivals: Sequence[int]
    surfaces: Sequence[str | None]
    as_of: int

    def __len__(self) -> int:
        return len(self.times)

    def events(self) -> list[Event]:
        """Return the events, oldest first."""
        return list(map(Event._make, self.rows()))

    def row(self) -> dict[str, Any]:
        """Return the features of `user_sequence` by name, with `event_timestamp`.

        Surfaces are among them only where the data tells some apart.
        """
        told = {"surfaces": [each or "" for each in self.surfaces]}
        return {
            **(told if any(each is not None for each in self.surfaces) else {}),
            "item_ids": list(self.item_ids),
            "actions": list(self.actions),
            "times": list(self.times),
            "values": list(self.values),
            "event_ids": list(self.event_ids),
            "arrivals": list(self.arrivals),
            "as_of": self.as_of,
            "event_timestamp": _EPOCH + timedelta(milliseconds=self.as_of),
        }

    def columns(self) -> tuple[Sequence[Any], ...]:
        """Return the parallel sequences in the order of `Event`'s fields."""
        return tuple(getattr(self, name) for name in _FIELDS)

    def rows(self) -> Iterable[tuple[Any, ...]]:
        """Return the events as plain tuples, in the order of `Event`'s fields."""
        return zip(*self.columns(), strict=True)

    @classmethod
    def of(cls, events: Sequence[tuple[Any, ...]], as_of: int) -> Recent:
        """Make a row of events that are in order and have different ids."""
        times, names, items, actions, values, arrivals, surfaces = [
            list(column) for column in zip(*events, strict=True)
        ] or [[] for _ in _FIELDS]
        return cls(times, names, items, actions, values, arrivals, surfaces, as_of)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Recent:
        """Read a stored row; the first four lists are needed, the rest may be null.

        Rows that were written before streams were known have no event ids: their events get
        ids that no delivery has, so that a re-delivered one counts as new until the next
        publication.

        Raises:
            ValueError: a list is null or of another length than the others, or holds a null.
        """
        items = row.get("item_ids")
        count = 0 if items is None else len(items)
        given = {
            "event_ids": row.get("event_ids") or [f"\0{n:09}" for n in range(count)],
            "arrivals": row.get("arrivals") or [0] * count,
        }
        lists: dict[str, Any] = {name: given.get(name, row.get(name)) for name in EVENT_LISTS}
        wrong = [
            name
            for name, held in lists.items()
            if held is None or len(held) != count or None in held
        ]
        surfaces = row.get("surfaces")
        # A row that was written before surfaces were told apart has none.
        lists["surfaces"] = [None] * count if surfaces is None else surfaces
        if len(lists["surfaces"]) != count:
            wrong.append("surfaces")
        if wrong:
            raise ValueError(f"null or of another length than the others: {', '.join(wrong)}")
        last = max(lists["times"], default=-1) + 1
        stored = row.get("as_of")
        as_of = last if stored is None else max(last, int(stored))
        keys = list(zip(lists["times"], lists["event_ids"], strict=True))
        if not all(map(le, keys, keys[1:])):
            columns = (lists[name] for name in _FIELDS)
            return cls.of(sorted(zip(*columns, strict=True), key=_ORDER), as_of)
        return cls(**lists, as_of=as_of)


class Appended(NamedTuple):
    """What `merge` made of a delivery.

    Attributes:
        recent: the new row; the very same object if nothing changed.
        kept: events that are in it now and weren't before.
        older: new events that lie before a full window, so that they change nothing.
        repeated: deliveries of an event id that was there already.
        conflicting: of these, how many had other contents.
    """

    recent: Recent | None
    kept: int
    older: int
    repeated: int
    conflicting: int


def append(recent: Recent | None, events: Iterable[Event], limit: int) -> Recent | None:
    """Return the row with more events in it: union by event id, sorted, the last `limit`.

    Idempotent, commutative and associative over events that agree about their ids.

    Args:
        recent: the row so far; None for a user without one.
        events: in the order of delivery, of this user, of types that make history.
        limit: most recent events kept.

    Returns:
        The new row, or `recent` itself if nothing changed.
    """
    return merge(recent, events, limit).recent


def merge(recent: Recent | None, events: Iterable[Event], limit: int) -> Appended:
    """Do what `append` does, and count; arguments as there."""
    known = set(recent.event_ids) if recent else set()
    new: dict[str, Event] = {}
    again: list[Event] = []
    repeated = conflicting = 0
    for event in events:
        name = event.event_id
        if recent is not None and name in known:
            first = _found(recent, name)
            if event.arrival and not first.arrival:
                again.append(event)
        elif name in new:
            first = new[name]
        else:
            new[name] = event
            continue
        repeated += 1
        conflicting += not _same(event, first)
    if recent is not None and again:
        recent = _remembering(recent, again)
    merged, kept = _joined(recent, sorted(new.values(), key=_ORDER), limit)
    return Appended(merged, kept, len(new) - kept, repeated, conflicting)


def _joined(recent: Recent | None, fresh: list[Event], limit: int) -> tuple[Recent | None, int]:
    """Return the row with new events, sorted and not in it yet, and how many of them it keeps."""
    if not fresh:
        return recent, 0
    if recent is None or not len(recent):
        rows: Sequence[tuple[Any, ...]] = fresh
    elif _ORDER(fresh[0]) > (recent.times[-1], recent.event_ids[-1]):
        # The usual case: what just happened is also the latest.
        pairs = zip(recent.columns(), zip(*fresh, strict=True), strict=True)
        columns = {
            name: [*before, *then][-limit:]
            for name, (before, then) in zip(_FIELDS, pairs, strict=True)
        }
        as_of = _true_as_of(recent, fresh[-1].time, fresh)
        return Recent(**columns, as_of=as_of), min(len(fresh), limit)
    else:
        rows = sorted([*recent.rows(), *fresh], key=_ORDER)
    cut = rows[-limit:]
    names = {event.event_id for event in fresh}
    kept = sum(row[1] in names for row in cut)
    if recent is not None and not kept and len(recent) <= limit:
        return recent, 0
    return Recent.of(cut, _true_as_of(recent, cut[-1][0], fresh)), kept


def _true_as_of(recent: Recent | None, last: int, fresh: Iterable[Event]) -> int:
    arrived = max(event.arrival for event in fresh)
    return max(recent.as_of if recent else 0, last + 1, arrived)


def _remembering(recent: Recent, again: Iterable[Event]) -> Recent:
    """Note when events that came by batch have reached us by stream as well."""
    arrivals = list(recent.arrivals)
    for event in again:
        arrivals[list(recent.event_ids).index(event.event_id)] = event.arrival
    as_of = max(recent.as_of, *(event.arrival for event in again))
    return replace(recent, arrivals=arrivals, as_of=as_of)


def _found(recent: Recent, event_id: str) -> Event:
    at = list(recent.event_ids).index(event_id)
    return Event(*(column[at] for column in recent.columns()))


def _same(one: Event, other: Event) -> bool:
    """Tell whether two deliveries say the same; when they arrived does not matter."""
    values = one.value == other.value or (one.value != one.value and other.value != other.value)
    return values and one[:4] == other[:4]
