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
        f"distinct_items_{longest}d": _distinct(recent, recent.items.astype(np.int64)),
        # Floor division: a moment before 1970 belongs to the day that it lies in, too.
        f"active_days_{longest}d": _distinct(recent, recent.times // DAY_MS),
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


def _distinct(log: EventLog, values_E: Ints) -> Ints:
    """Count each user's different values, (U,)."""
    if not len(values_E):
        return np.zeros(len(log.users), np.int64)
    low = int(values_E.min())
    span = int(values_E.max()) - low + 1
    pairs = np.unique(log.user_of_event * span + (values_E - low))
    return np.bincount(pairs // span, minlength=len(log.users)).astype(np.int64)
