"""Streamed events → the offline landing and the online sequences: the one way in.

The order of effects makes delivery at least once safe: land durably, then change the online rows,
then (the caller) acknowledge. Each effect may happen twice without harm, so after a crash at any
point a redelivery leads to the same state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from feature_repo.freshness import Arrivals
from feature_repo.stores.online_store import OnlineStore, Row
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.known_items import KnownItems
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules
from recommender.features.recent import Appended, Event, Recent, merge

VIEW, KEY = "user_sequence", "user_id"


def now_ms() -> int:
    """Return the present moment, UTC milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Applied:
    """What became of a batch of events.

    Attributes:
        received: events in the batch; the next five add up to it.
        kept: new ones that are in a sequence now.
        older: new ones that lie before a full window: landed, but the sequence does not change.
        repeated: deliveries of an id that the sequence or the batch held already.
        aside: of types that make no history: landed only.
        suppressed: of people who asked to be forgotten: neither landed nor applied.
        conflicting: of the repeated, those with other contents than the first delivery, which
            stays.
        unknown_items: of the received, those whose item the catalogue lacks (yet).
        repaired: users whose stored row was damaged and was started anew.
        users: whose sequences changed.
        newest_ms: latest time among the events, UTC milliseconds; 0 without events.
    """

    received: int = 0
    kept: int = 0
    older: int = 0
    repeated: int = 0
    aside: int = 0
    suppressed: int = 0
    conflicting: int = 0
    unknown_items: int = 0
    repaired: int = 0
    users: int = 0
    newest_ms: int = 0

    def __add__(self, other: Applied) -> Applied:
        summed = {
            each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)
        }
        return Applied(**{**summed, "newest_ms": max(self.newest_ms, other.newest_ms)})


class EventSink:
    """Applies events to one Feast project; safe to share between threads and processes.

    Args:
        store: the project's online store.
        landing: where its events land.
        rules: which events make a sequence, and how long it is.
        arrivals: the record of freshness, if one is kept.
        suppressed: tells whether a user asked to be forgotten; by default nobody did.
        clock: UTC milliseconds; a replay of old events may have its own.
    """

    def __init__(
        self,
        store: OnlineStore,
        landing: Landing,
        rules: EventRules,
        *,
        arrivals: Arrivals | None = None,
        suppressed: Callable[[str], bool] | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.rules = rules
        self.landing = landing
        self.clock = clock
        self._store = store
        self._arrivals = arrivals
        self._suppressed = suppressed
        self._items = KnownItems(store)

    def apply(self, events: Sequence[StreamEvent]) -> Applied:
        """Land events and bring them into the online sequences.

        When this returns, both have happened. When it raises, any part may have: apply the same
        events again.

        Args:
            events: valid ones, in the order of delivery.

        Raises:
            StorageError: they can't be landed; nothing has happened.
            FeatureError: the online store can't be written; they have landed.
        """
        welcome = self.land(events)
        told = self.bring_online(welcome)
        suppressed = len(events) - len(welcome)
        return told + Applied(received=suppressed, suppressed=suppressed)

    def land(self, events: Sequence[StreamEvent]) -> Sequence[StreamEvent]:
        """Land events and leave the online sequences alone; the first half of `apply`.

        Returns:
            The events that landed: all but those of people who asked to be forgotten.

        Raises:
            StorageError: they can't be landed.
        """
        welcome = events
        if self._suppressed is not None:
            welcome = [event for event in events if not self._suppressed(event.user_id)]
        self.landing.land(welcome, self.clock())
        return welcome

    def bring_online(self, events: Sequence[StreamEvent]) -> Applied:
        """Bring events that have landed into the sequences; the second half of `apply`.

        Raises:
            FeatureError: the online store can't be written; call it again.
        """
        changes = self._changes(events)
        if changes:
            self._store.update(VIEW, KEY, changes)
        told = Applied(
            received=len(events),
            aside=len(events) - sum(len(each.events) for each in changes.values()),
            unknown_items=self._items.count_unknown([event.item_id for event in events]),
            newest_ms=max((event.time for event in events), default=0),
        )
        for each in changes.values():
            told += each.told()
        if self._arrivals is not None and told.kept:
            self._arrivals.note(told.newest_ms, self.clock())
        return told

    def close(self) -> None:
        """Write what is still to be noted of freshness, and close the store.

        Raises:
            StorageError, FeatureError: the freshness can't be written.
        """
        try:
            if self._arrivals is not None:
                self._arrivals.flush()
        finally:
            self._store.close()

    def ready(self) -> None:
        """Return if events could be applied now.

        Raises:
            FeatureError, StorageError: the online store or the landing can't be reached.
        """
        self._store.rows(VIEW, KEY, ["\0"], ["as_of"])
        self.landing.prepare()

    def _changes(self, events: Sequence[StreamEvent]) -> dict[str, _Change]:
        # After landing: whoever began to read before now may have missed these events, and whoever
        # begins later finds them. So a publication knows by this moment which of them to keep.
        arrival = self.clock()
        changes: dict[str, _Change] = {}
        for event in events:
            if event.event in self.rules.history:
                change = changes.get(event.user_id)
                if change is None:
                    change = changes[event.user_id] = _Change(self.rules.limit)
                change.events.append(event.in_sequence(arrival, self.rules.surfaces))
        return changes


class _Change:
    """The events of one user, as a change of the stored row; may be called more than once."""

    def __init__(self, limit: int) -> None:
        self.events: list[Event] = []
        self._limit = limit
        self._made = Appended(None, 0, 0, 0, 0)
        self._repaired = False

    def __call__(self, stored: Row | None) -> Row | None:
        recent, self._repaired = None, False
        if stored is not None:
            try:
                recent = Recent.from_row(stored)
            except (TypeError, ValueError):
                # What it held has landed, and comes back with the next publication. Failing here
                # would stop the stream for everybody.
                self._repaired = True
        self._made = merge(recent, self.events, self._limit)
        if self._made.recent is None or self._made.recent is recent:
            return None
        return self._made.recent.row()

    def told(self) -> Applied:
        """Return what the last call did."""
        made = self._made
        return Applied(
            kept=made.kept,
            older=made.older,
            repeated=made.repeated,
            conflicting=made.conflicting,
            repaired=int(self._repaired),
            users=int(made.kept > 0),
        )
