"""What was shown, what came of it, and the two joined: Arrow schemas and the one join.

`SERVED`    one row per shown item of a served list.
`FEEDBACK`  one row per reported click or conversion; each (request, item, action) counts once.
`joined`    a served row with what came of it within a window.
`FAILED`    one row per request that was not answered, whatever the model server's fault.

Times are UTC milliseconds; users are pseudonyms. Files may hold a row twice (whoever writes them
tries again): what reads them goes through `distinct_served` and `distinct_feedback`.

Shape letters: N served rows, F rows of feedback.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.tables import TIME

SERVED = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("user", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("lane", pa.string(), nullable=False),
        pa.field("surface", pa.string()),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("propensity", pa.float64(), nullable=False),
        pa.field("marginal", pa.float64()),
        pa.field("policy", pa.string(), nullable=False),
        pa.field("fallback", pa.string()),
        pa.field("latency_ms", pa.float32()),
    ]
)
"""`position` counts from 1. `propensity` is the probability of this item at this place given the
places before it; `marginal` that of this item at this place whatever the others hold, where the
policy knows it. `user` is a pseudonym, "" for an anonymous visit."""

FEEDBACK = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("received", TIME, nullable=False),
    ]
)
"""`time` is when it happened, as the caller says; `received` when we heard of it."""

FAILED = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("user", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("lane", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("latency_ms", pa.float32()),
    ]
)
"""`error` is its kind, without the request's content. Whoever asked wrongly has no row here."""

JOINED = pa.schema(
    [
        *SERVED,
        pa.field("rewarded", pa.bool_(), nullable=False),
        pa.field("actions", pa.list_(pa.string()), nullable=False),
        pa.field("reward", pa.float64(), nullable=False),
        pa.field("feedback_time", TIME),
    ]
)
"""`rewarded`: some success came of it. `actions`: everything that did, sorted. `reward`: the sum of
the successes' values, 1 for one without. `feedback_time`: of the first success. After these come
the columns `rewarded_<action>`, one per success action."""


def joined(
    served: pa.Table,
    feedback: pa.Table,
    attribution_ms: int,
    successes: Sequence[str] | None = None,
) -> pa.Table:
    """Return every served row with what came of it.

    Args:
        served: as `SERVED`.
        feedback: as `FEEDBACK`. What is about an item that the list did not hold, or came before
            the list or too long after it, counts for nothing.
        attribution_ms: longest time from a list to what is still put down to it.
        successes: the actions that are a success; None: every one that occurs.

    Returns:
        as `JOINED`, and `rewarded_<action>` (bool) per success action; in the order of `served`,
        each (request, position) once.
    """
    shown = distinct_served(served)
    told = distinct_feedback(feedback)
    if successes is None:
        successes = sorted(pc.unique(told["action"]).to_pylist())
    rows = rows_of(shown, told)
    delay = _ms(told["time"]) - np.where(rows >= 0, _ms(shown["time"])[rows], 0)
    counts = (rows >= 0) & (delay >= 0) & (delay <= attribution_ms)
    told, rows = told.filter(pa.array(counts)), rows[counts]
    actions = told["action"].to_pylist()
    reward_N = np.zeros(len(shown))
    first_N = np.full(len(shown), np.iinfo(np.int64).max)
    by_action = {action: np.zeros(len(shown), bool) for action in successes}
    everything: list[list[str]] = [[] for _ in range(len(shown))]
    for row, action in zip(rows.tolist(), actions, strict=True):
        everything[row].append(action)
    values = told["value"].to_numpy(zero_copy_only=False).astype(float)
    values = np.where(np.isnan(values), 1.0, values)
    good = np.isin(np.array(actions, object), np.array(list(successes), object))
    np.add.at(reward_N, rows[good], values[good])
    np.minimum.at(first_N, rows[good], _ms(told["time"])[good])
    for action, column in by_action.items():
        column[rows[np.array(actions, object) == action]] = True
    rewarded = first_N < np.iinfo(np.int64).max
    times = pa.array(np.where(rewarded, first_N, 0), pa.int64(), mask=~rewarded).cast(TIME)
    columns = [
        *shown.columns,
        pa.array(rewarded),
        pa.array([sorted(each) for each in everything], pa.list_(pa.string())),
        pa.array(reward_N),
        times,
    ]
    whole = pa.table(
        [*columns, *(pa.array(column) for column in by_action.values())],
        names=[*JOINED.names, *(f"rewarded_{action}" for action in by_action)],
    )
    extra = [pa.field(f"rewarded_{action}", pa.bool_(), nullable=False) for action in by_action]
    return whole.cast(pa.schema([*JOINED, *extra]))


def distinct_served(served: pa.Table) -> pa.Table:
    """Return served rows with each (request, position) once, the first of them."""
    return _firsts(served.select(SERVED.names).cast(SERVED), ["request_id", "position"])


def distinct_failed(failed: pa.Table) -> pa.Table:
    """Return failed requests with each request once."""
    return _firsts(failed.select(FAILED.names).cast(FAILED), ["request_id"])


def distinct_feedback(feedback: pa.Table) -> pa.Table:
    """Return feedback with each (request, item, action) once, the one that was received first."""
    ordered = feedback.select(FEEDBACK.names).cast(FEEDBACK).sort_by("received")
    return _firsts(ordered, ["request_id", "item_id", "action"])


def _firsts(table: pa.Table, keys: list[str]) -> pa.Table:
    place = pa.array(np.arange(len(table)))
    grouped = table.select(keys).append_column("_place", place).group_by(keys)
    kept = grouped.aggregate([("_place", "min")])["_place_min"].combine_chunks()
    return table if len(kept) == len(table) else table.take(kept.sort())


def rows_of(shown: pa.Table, told: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the served row that each feedback is about, -1 where there is none, (F,).

    Args:
        shown: as `SERVED`, N rows.
        told: as `FEEDBACK`, F rows.
    """
    keys = ["request_id", "item_id"]
    places = shown.select(keys).append_column("_row", pa.array(np.arange(len(shown))))
    # A list that shows an item twice: its first place.
    firsts = places.group_by(keys).aggregate([("_row", "min")])
    asked = told.select(keys).append_column("_told", pa.array(np.arange(len(told))))
    found = asked.join(firsts, keys, join_type="left outer").sort_by("_told")
    rows: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        found["_row_min"].fill_null(-1).to_numpy().astype(np.int64)
    )
    return rows


def _ms(times: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values: np.ndarray[tuple[int], np.dtype[np.int64]] = times.cast(pa.int64()).to_numpy()
    return values
