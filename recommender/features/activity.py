"""How active each user was: events counted in windows before a moment, and recency.

The rule is that of sequences: **as of t only events strictly before t count**. A window of d days
holds the events in [t − d days, t): a day is 24 hours, whatever the time zone.

Shape letters: E events, U users, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.features.sequences import EventLog

DAY_MS = 86_400_000

Ints = NDArray[np.int64]


def activity_columns(windows_days: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the counted columns, in the order of the table.

    Args:
        windows_days: as in `ActivityConfig.windows_days`.
    """
    longest = max(windows_days)
    return (
        "events_total",
        *(f"events_{days}d" for days in sorted(set(windows_days))),
        f"distinct_items_{longest}d",
        f"active_days_{longest}d",
        f"successes_{longest}d",
    )


def activity(
    log: EventLog, actions: ActionsConfig, windows_days: Sequence[int], as_of: int
) -> pa.Table:
    """Return how active everybody was as of a moment.

    Args:
        log: of the events that make up histories; E events.
        actions: says which of them are a success.
        windows_days: lengths of the windows, each ≥ 1.
        as_of: UTC milliseconds.

    Returns:
        One row per user who has an event strictly before `as_of`, in the order of `log.users`:
        `user_id`, the columns of `activity_columns` (Int64; the last three over the longest
        window; a day is active by the UTC calendar), `last_event_ms` (UTC milliseconds),
        `days_since_last` (Float64, > 0, at `as_of`) and `as_of`.
    """
    seen = log.before(as_of)
    known_U = np.diff(seen.offsets) > 0
    starts = {days: as_of - days * DAY_MS for days in windows_days}
    longest = max(windows_days)
    recent = seen.where(seen.times >= starts[longest])
    counted = {
        "events_total": np.diff(seen.offsets),
        **{f"events_{days}d": _since(recent, starts[days]) for days in sorted(starts)},
        f"distinct_items_{longest}d": _distinct_items(recent),
        f"active_days_{longest}d": _active_days(recent),
        f"successes_{longest}d": np.diff(recent.of_types(actions.successes, actions).offsets),
    }
    last_U = seen.times[seen.offsets[1:][known_U] - 1]
    users = np.array(seen.users, object)[known_U]
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            **{
                name: pa.array(counted[name][known_U], pa.int64())
                for name in activity_columns(windows_days)
            },
            "last_event_ms": pa.array(last_U, pa.int64()),
            "days_since_last": pa.array((as_of - last_U) / DAY_MS, pa.float64()),
            "as_of": pa.array(np.full(len(users), as_of, np.int64)),
        }
    )


def _since(log: EventLog, start: int) -> Ints:
    """Count each user's events at or after a moment, (U,)."""
    users_E = log.user_of_event[log.times >= start]
    return np.bincount(users_E, minlength=len(log.users)).astype(np.int64)


def _distinct_items(log: EventLog) -> Ints:
    """Count each user's different items, (U,)."""
    span = int(log.items.max(initial=0)) + 1
    pairs = np.sort(log.user_of_event * span + log.items)
    first = np.ones(len(pairs), bool)
    first[1:] = pairs[1:] != pairs[:-1]
    return np.bincount(pairs[first] // span, minlength=len(log.users)).astype(np.int64)


def _active_days(log: EventLog) -> Ints:
    """Count the days on which each user has an event, (U,)."""
    # Floor division: a moment before 1970 belongs to the day that it lies in, too.
    day_E, user_E = log.times // DAY_MS, log.user_of_event
    # The log is sorted by user and time: a day begins where either changes.
    first = np.ones(len(day_E), bool)
    first[1:] = (day_E[1:] != day_E[:-1]) | (user_E[1:] != user_E[:-1])
    return np.bincount(user_E[first], minlength=len(log.users)).astype(np.int64)
