"""Who was there on which day: what the views of the long term are taken from.

Shape letters: U people, T days, V sessions, E events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.features.cases import SESSION_GAP_MS, session_of_event
from recommender.features.sequences import EventLog

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Sessions:
    """Runs of events of one person without a long pause, sorted by (person, time).

    Attributes:
        users: rows of people, (V,).
        starts: first event, UTC milliseconds, (V,).
        ends: last event, UTC milliseconds, (V,).
        events: in each, (V,).
        successes: of them, success events, (V,).
        negatives: of them, events that say that somebody was not pleased, (V,).
    """

    users: Ints
    starts: Ints
    ends: Ints
    events: Ints
    successes: Ints
    negatives: Ints

    def __len__(self) -> int:
        return len(self.users)

    @property
    def dwell_s(self) -> Doubles:
        """Seconds between the first and the last event of each, (V,)."""
        return np.asarray((self.ends - self.starts) / 1000)

    def returned_within(self, days: int, observed_until: int) -> tuple[NDArray[np.bool_], Ints]:
        """Tell which sessions were followed by another of the same person soon.

        Args:
            days: how soon, counted from the session's end.
            observed_until: UTC milliseconds; sessions without so many days after them can't be
                told from those that weren't followed, and are left out.

        Returns:
            whether each of the kept sessions was followed, and their rows.
        """
        follows = np.zeros(len(self), bool)
        same = self.users[1:] == self.users[:-1]
        soon = self.starts[1:] - self.ends[:-1] <= days * DAY_MS
        follows[:-1] = same & soon
        kept = np.flatnonzero(self.ends + days * DAY_MS <= observed_until)
        return follows[kept], kept


def sessions(log: EventLog, actions: ActionsConfig, gap_ms: int = SESSION_GAP_MS) -> Sessions:
    """Cut a log into sessions.

    Args:
        log: all events; sorted by (user, time).
        actions: which event types are a success, and which are negative.
        gap_ms: a longer pause starts a new session.
    """
    if not len(log):
        empty = np.empty(0, np.int64)
        return Sessions(empty, empty, empty, empty, empty, empty)
    session_E = session_of_event(log, gap_ms)
    starts = np.flatnonzero(np.diff(session_E, prepend=-1))
    ends = np.append(starts[1:], len(log)) - 1

    def counted(names: tuple[str, ...]) -> Ints:
        wanted_E = np.isin(log.actions, [actions.code(name) for name in names])
        return np.asarray(np.add.reduceat(wanted_E.astype(np.int64), starts))

    return Sessions(
        log.user_of_event[starts],
        log.times[starts],
        log.times[ends],
        ends - starts + 1,
        counted(actions.successes),
        counted(actions.negative),
    )


def active_days(log: EventLog, start: int, days: int) -> NDArray[np.bool_]:
    """Return whether each person did anything on each day, (T, U).

    Args:
        log: all events.
        start: first moment of the first day, UTC milliseconds.
        days: T.
    """
    day_E = (log.times - start) // DAY_MS
    inside = (day_E >= 0) & (day_E < days)
    active = np.zeros((days, len(log.users)), bool)
    active[day_E[inside], log.user_of_event[inside]] = True
    return active
