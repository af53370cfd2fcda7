"""Missing event times, interpolated in the source's order of a user's rows.

Sources number their rows, so the order of the event ids (shorter first, then by text) is the
order of the source. That order says something of time only where times run forward in it: where
they mostly don't (ids are hashes, the file is sorted by item), nothing is interpolated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from recommender.quality.columns import Bools, Ints, codes, milliseconds, missing, replace

FORWARD_SHARE = 0.95
"""Steps from one event of a user to the next, in source order, that must not go back in time."""


def interpolate(events: pa.Table, horizon: int | None) -> tuple[pa.Table, str]:
    """Fill in missing times between the neighbours in the same user's rows, evenly spaced.

    A time before `horizon` is made only from neighbours before it (later events are not looked
    at), one after it only from neighbours after it, and neighbours must be in order. Everything
    else stays missing. That times run forward in source order is judged before `horizon` too.

    Args:
        events: canonical events; a null time is missing.
        horizon: the earliest test cut, ms; None: nothing is filled in.

    Returns:
        The events in their given order, and a sentence for the report.
    """
    absent = missing(events["time"])
    if horizon is None or not absent.any():
        return events, "nothing interpolated: the log can't be cut"
    order = _source_order(events)
    user = codes(events["user_id"])[order]
    time = milliseconds(events["time"])[order]
    unknown = absent[order]
    early = ~unknown & (time < horizon)
    share = _forward_share(user, time, early)
    if share < FORWARD_SHARE:
        return events, (
            f"nothing interpolated: only {share:.0%} of the steps in source order go forward in "
            "time, so the order says nothing of a missing time"
        )
    filled = _between(user, time, unknown, early)
    late = ~unknown & (time >= horizon)
    others = unknown & (filled < 0)
    # After the cut only immediate neighbours count, both of them after it.
    filled_late = _between(user, time, others, ~unknown, allowed=late)
    filled = np.where(others, filled_late, filled)
    known = np.where(unknown, filled, time)
    result = np.empty_like(known)
    result[order] = known
    nothing = np.zeros(len(order), np.bool_)
    nothing[order] = unknown & (filled < 0)
    column = pa.array(result, mask=nothing).cast(events.schema.field("time").type)
    note = "evenly between the neighbours in the source's order of the same user's events"
    return replace(events, "time", column), note


def _source_order(events: pa.Table) -> Ints:
    """Return the rows ordered by user and, within one, as the source had them, (E,)."""
    ids = events["event_id"].to_pandas()
    frame = pd.DataFrame({"user": codes(events["user_id"]), "length": ids.str.len(), "id": ids})
    return frame.sort_values(["user", "length", "id"], kind="stable").index.to_numpy(np.int64)


def steps_back(events: pa.Table) -> float:
    """Return the share of steps, within users and in source order, that go back in time.

    Args:
        events: canonical events; those without a time are not looked at.
    """
    order = _source_order(events)
    known = ~missing(events["time"])[order]
    time = milliseconds(events["time"])[order]
    return 1 - _forward_share(codes(events["user_id"])[order], time, known, default=1.0)


def _forward_share(user: Ints, time: Ints, known: Bools, default: float = 0.0) -> float:
    user, time = user[known], time[known]
    same = user[1:] == user[:-1]
    forward = (time[1:] >= time[:-1])[same]
    return float(forward.mean()) if len(forward) else default


def _between(
    user: Ints, time: Ints, unknown: Bools, known: Bools, allowed: Bools | None = None
) -> Ints:
    """Interpolate `unknown` rows between the nearest `known` ones of the same user.

    Args:
        user: codes in source order, (E,).
        time: milliseconds in source order, (E,).
        unknown: rows to be filled, (E,).
        known: rows that are neighbours, (E,).
        allowed: neighbours that may be used; with another one nothing is filled, (E,).

    Returns:
        Times, -1 … where none could be made, (E,). Rows between the same two neighbours are
        evenly spaced in source order.
    """
    count = len(user)
    rows = np.arange(count)
    left = np.maximum.accumulate(np.where(known, rows, -1))
    right = np.minimum.accumulate(np.where(known, rows, count)[::-1])[::-1]
    ok = unknown & (left >= 0) & (right < count)
    a, b = np.clip(left, 0, None), np.clip(right, None, max(count - 1, 0))
    ok &= (user[a] == user) & (user[b] == user) & (time[a] <= time[b])
    if allowed is not None:
        ok &= allowed[a] & allowed[b]
    bracket = pd.Series(np.where(ok, left, -1))
    place = bracket.groupby(bracket).cumcount().to_numpy() + 1
    size = bracket.groupby(bracket).transform("size").to_numpy() + 1
    step = (time[b] - time[a]) * place // size
    return np.where(ok, time[a] + step, np.int64(-1))
