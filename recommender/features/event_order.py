"""Canonical events in the order of every log: by user, then time, then event id.

Sorting texts is what costs: users are sorted once each, as a dictionary, and event ids only where
a user has two events at one moment.

Shape letters: E events, U users.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.errors import FeatureError

Ints = NDArray[np.int64]


class Ordered(NamedTuple):
    """Where the events of a table belong in a log.

    Attributes:
        users: who have events, in the order of their ids (by code point), (U,).
        offsets: user u's events are `rows[offsets[u]:offsets[u + 1]]`, (U + 1,) int64.
        rows: of the table, sorted by (user, time, event id), (E,) int64.
    """

    users: tuple[str, ...]
    offsets: Ints
    rows: Ints


def in_order(events: pa.Table) -> Ordered:
    """Sort events by (user, time, event id).

    An event that was delivered again (the same user, time and id) counts once: its first row
    stays.

    Args:
        events: with `user_id`, `time` and `event_id` (see `recommender.tables.EVENTS`).

    Raises:
        FeatureError: an event has no user or no time.
    """
    for name in ("user_id", "time"):
        if missing := events[name].null_count:
            raise FeatureError(
                f"{missing} of {events.num_rows} events have no {name}",
                "validation removes such events; run the validate step on this data",
            )
    codes, names = dictionary(events["user_id"])
    order = pc.sort_indices(names).to_numpy()
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    user_E = rank[codes]
    time_E = events["time"].cast(pa.int64()).to_numpy()
    # The canonical table comes sorted by time; then only the users are left to sort by.
    rising = bool((time_E[1:] >= time_E[:-1]).all())
    rows = _by_digits(user_E) if rising else _by_time_and_user(time_E, user_E)
    rows = _untied(events["event_id"], user_E, time_E, rows)
    counts = np.bincount(user_E[rows], minlength=len(order))
    # A dictionary may name users of whom this part of a table holds nothing.
    present = np.flatnonzero(counts)
    return Ordered(
        tuple(names.take(pa.array(order[present])).to_pylist()),
        np.concatenate([[0], np.cumsum(counts[present])]).astype(np.int64),
        rows,
    )


def dictionary(texts: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """Return the code of each text, (E,), and the distinct texts by code; −1 where it is null."""
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    texts = texts.unify_dictionaries()
    if not texts.num_chunks:
        return np.empty(0, np.int32), pa.array([], pa.string())
    codes = [chunk.indices.fill_null(-1).to_numpy() for chunk in texts.chunks]
    return np.concatenate(codes).astype(np.int32, copy=False), texts.chunk(0).dictionary


def taken(texts: pa.ChunkedArray, rows: Ints) -> pa.Array:
    """Return some of the texts of a column, in the order of `rows`."""
    if texts.nbytes >= 2**31:
        # Taking joins the chunks, and Arrow's plain texts end at 2 GiB.
        texts = texts.cast(pa.large_string())
    return texts.take(pa.array(rows)).combine_chunks()


def _by_time_and_user(time_E: Ints, user_E: NDArray[np.int32]) -> Ints:
    rows = np.argsort(time_E, kind="stable")
    return rows[_by_digits(user_E[rows])]


def _by_digits(codes: NDArray[np.int32]) -> Ints:
    """Return a stable order of codes ≥ 0: two passes of NumPy's radix sort, which knows 16 bits."""
    rows: Ints = np.argsort((codes & 0xFFFF).astype(np.uint16), kind="stable")
    if codes.max(initial=0) > 0xFFFF:
        high = (codes >> 16).astype(np.uint16)
        rows = rows[np.argsort(high[rows], kind="stable")]
    return rows


def _untied(ids: pa.ChunkedArray, user_E: NDArray[Any], time_E: Ints, rows: Ints) -> Ints:
    """Order the events of one user at one moment by their ids, and drop those delivered again.

    Args:
        ids: of the events, in the order of the table.
        user_E: codes, in the order of the table.
        time_E: milliseconds, in the order of the table.
        rows: sorted by (user, time), stable.
    """
    user, time = user_E[rows], time_E[rows]
    tied = np.zeros(len(rows) + 1, bool)
    tied[1:-1] = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
    places = np.flatnonzero(tied[:-1] | tied[1:])
    if not len(places):
        return rows
    run = np.cumsum(~tied[:-1][places])
    those = pa.table({"run": run, "id": taken(ids, rows[places])})
    order = pc.sort_indices(those, [("run", "ascending"), ("id", "ascending")])
    those = those.take(order).combine_chunks()
    rows = rows.copy()
    rows[places] = rows[places][order.to_numpy()]
    name = those["id"]
    again = pc.equal(name.slice(1), name.slice(0, len(name) - 1)).fill_null(False).to_numpy()
    again = again & (np.diff(those["run"].to_numpy()) == 0)
    return np.delete(rows, places[1:][again]) if again.any() else rows
