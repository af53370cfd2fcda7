"""The figures of each view whose distributions are watched from run to run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.features.expectations import columns
from recommender.features.expectations.columns import Floats

_DAY_MS = 86_400_000
_NOT_WATCHED = ("as_of", "event_timestamp", "created", "period_ms")
"""Columns that say when, not what: they move with the clock."""


_WINDOW = re.compile(r"_\d+d$")


def limit_of(view: str, figure: str) -> Literal["psi", "recency", "trend"]:
    """Return which limit of `FeatureDriftLimits` a figure's move is held against."""
    if view == "item_trend":
        return "trend"
    clock = figure.startswith(("days since", "days_since")) or _WINDOW.search(figure)
    return "recency" if clock else "psi"


def figures(view: str, table: pa.Table, as_of_ms: int) -> Iterator[tuple[str, Floats]]:
    """Yield each figure's name and its value per row (NaN where there is none).

    Numbers are taken as they are, lists by their length, vectors by their likeness to the mean
    vector, texts by their number of characters.

    Args:
        view: name of the feature view.
        table: its snapshot, R rows.
        as_of_ms: of the snapshot, UTC milliseconds.
    """
    if view == "user_sequence":
        yield from _sequence(table, as_of_ms)
        return
    for name in table.column_names:
        column = table[name]
        if name in _NOT_WATCHED or name.endswith(("_id", "_ms")):
            continue
        if name == "vector" or name.startswith("vector_"):
            vectors = columns.matrix(column)
            if vectors is not None:
                yield f"{name} (likeness to the mean)", columns.likeness(vectors)
        elif columns.is_list(column):
            yield f"{name} (number)", columns.lengths(column).astype(np.float64)
        elif columns.is_number(column):
            yield name, columns.numbers(column)
        elif name in ("text", "sentence"):
            yield f"{name} (characters)", columns.numbers(pc.utf8_length(column))


def _sequence(table: pa.Table, as_of_ms: int) -> Iterator[tuple[str, Floats]]:
    counts = columns.lengths(table["times"])
    yield "events", counts.astype(np.float64)
    times = np.asarray(columns.flat(table["times"]).to_numpy(), np.float64)
    ends = np.cumsum(counts)
    there = counts > 0
    last = np.full(len(counts), np.nan)
    last[there] = times[ends[there] - 1]
    yield "days since the last event", (as_of_ms - last) / _DAY_MS
    first = np.full(len(counts), np.nan)
    first[there] = times[ends[there] - counts[there]]
    yield "days from the first event to the last", (last - first) / _DAY_MS


def mix(view: str, table: pa.Table) -> dict[str, int]:
    """Return the event types in all sequences and how often each occurs; empty for other views."""
    if view != "user_sequence":
        return {}
    counted = columns.flat(table["actions"]).value_counts()
    names = counted.field("values").to_pylist()
    return dict(sorted(zip(names, counted.field("counts").to_pylist(), strict=True)))
