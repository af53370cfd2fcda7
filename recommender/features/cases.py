"""What was put in front of people, and how far they went with it.

A log holds a row for an impression that came to nothing, and a later row for a click instead of
one that did. Judged by its own row, a click would be asked about with the clicks on the places
above it already in the history, and a purchase with the click on the very item. So

- a row with a logged position is asked about at the moment its list was shown: the first of a
  burst of such rows of one person;
- a case is the first touch of an item in a session, and its outcome the farthest event type that
  the person reached with that item until the session's end.

Shape letters: E events, N cases, G kinds of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import EventLog, Ints

BURST_MS = 30_000
"""Rows with a position that follow each other within this time are one list."""

SESSION_GAP_MS = 30 * 60_000
"""A pause after which a new session begins, as web analytics has it."""


@dataclass(frozen=True)
class Cases:
    """Items in front of people.

    Attributes:
        rows: of the first touches in the log, rising, (N,).
        shown: of the first row of the list that each was in; itself without one, (N,).
        moments: at which to ask, UTC milliseconds, (N,).
        reached: code of the farthest event type, (N,).
    """

    rows: Ints
    shown: Ints
    moments: Ints
    reached: Ints

    def __len__(self) -> int:
        return len(self.rows)


def rows_shown(log: EventLog) -> Ints:
    """Return the first row of the list that each event belongs to, (E,); its own without one."""
    shown = np.arange(len(log))
    if log.exposures is None:
        return shown
    rows = np.flatnonzero(log.exposures.positions > 0)
    if not len(rows):
        return shown
    user, time = log.user_of_event[rows], log.times[rows]
    first = np.concatenate([[True], (user[1:] != user[:-1]) | (np.diff(time) > BURST_MS)])
    shown[rows] = rows[np.flatnonzero(first)[np.cumsum(first) - 1]]
    return shown


def moments_shown(log: EventLog) -> Ints:
    """Return the moment at which the list of each event was shown, (E,); its own without one."""
    return log.times[rows_shown(log)]


def session_of_event(log: EventLog, gap_ms: int = SESSION_GAP_MS) -> Ints:
    """Return the number of each event's session, (E,), rising with (user, time)."""
    if not len(log):
        return np.empty(0, np.int64)
    user = log.user_of_event
    first = np.concatenate([[True], (user[1:] != user[:-1]) | (np.diff(log.times) > gap_ms)])
    return np.cumsum(first) - 1


def cases(log: EventLog, items: int, start: int, end: int) -> Cases:
    """Return the cases whose first touch lies in a window.

    Args:
        log: events of all types.
        items: in the catalogue.
        start: of the window, UTC milliseconds.
        end: of the window, exclusive; outcomes are counted up to it and no further.
    """
    known = np.flatnonzero(log.times < end)
    keys = session_of_event(log)[known] * items + log.items[known]
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    reached = np.zeros(len(first), np.int64)
    np.maximum.at(reached, group.reshape(-1), log.actions[known].astype(np.int64))
    rows = known[first]
    inside = log.times[rows] >= start
    order = np.argsort(rows[inside], kind="stable")
    rows = rows[inside][order]
    shown = rows_shown(log)[rows]
    return Cases(rows, shown, log.times[shown], reached[inside][order])


def carried(
    log: EventLog, items: int, found: Cases, kinds: Sequence[Sequence[int]], end: int
) -> NDArray[np.float32]:
    """Return the values that came of each case, (N, G); NaN where none did.

    Of several events of one kind with the same item in the same session, the first value counts:
    it is what the person gave when the item was put in front of them.

    Args:
        log: that the cases were found in.
        items: in the catalogue.
        found: the cases.
        kinds: event-type codes whose value it is, G times.
        end: values are read up to it, exclusive, as outcomes are.
    """
    session_E = session_of_event(log)
    case_N = session_E[found.rows] * items + log.items[found.rows]
    values_NG = np.full((len(found), len(kinds)), np.nan, np.float32)
    for group, codes in enumerate(kinds):
        rows = np.flatnonzero(
            (log.times < end) & np.isin(log.actions, codes) & np.isfinite(log.values)
        )
        keys, first = np.unique(session_E[rows] * items + log.items[rows], return_index=True)
        if not len(keys):
            continue
        place_N = np.searchsorted(keys, case_N).clip(max=len(keys) - 1)
        has_N = keys[place_N] == case_N
        values_NG[has_N, group] = log.values[rows[first[place_N[has_N]]]]
    return values_NG


def drawn(found: Cases, most: int, seed: int) -> Cases:
    """Return at most so many cases, drawn at random."""
    if len(found) <= most:
        return found
    kept: NDArray[np.int64] = np.sort(
        np.random.default_rng(seed).choice(len(found), most, replace=False)
    )
    return Cases(found.rows[kept], found.shown[kept], found.moments[kept], found.reached[kept])
