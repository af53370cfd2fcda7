"""What must hold for the rows of each view, one function per view.

A rule without limits is about something that our own code promises: one row that breaks it is
a defect and stops the run. A rule with limits is about the data: a share of the rows may.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config import Config
from recommender.config.quality import AtMost
from recommender.features.expectations import columns
from recommender.features.expectations.columns import Bools

PROMISED = AtMost(warn=None, fail=0)
"""Not a single row may break it."""

_SECTION = "features.expectations"


@dataclass(frozen=True)
class Rule:
    """One expectation, tried on every row.

    Attributes:
        name: short, as people read it.
        broken: rows that break it, (R,).
        why: what depends on it.
        limit: share of the rows that may.
        setting: key of the limit in the configuration; "" where there is none to change.
    """

    name: str
    broken: Bools
    why: str
    limit: AtMost = PROMISED
    setting: str = ""


def rules(view: str, table: pa.Table, key: str, as_of_ms: int, config: Config) -> Iterator[Rule]:
    """Yield what is expected of a view's rows.

    Args:
        view: name of the feature view; of an unknown one only the key is judged.
        table: its snapshot, R rows.
        key: its join key.
        as_of_ms: of the snapshot, UTC milliseconds.
        config: the whole configuration.
    """
    yield from _key(table, key, as_of_ms)
    if view == "user_sequence":
        yield from _sequence(table, as_of_ms, config)
    elif view == "user_activity":
        yield from _activity(table, as_of_ms, config.features.activity.windows_days)
    elif view in ("item_text", "user_behaviour"):
        yield from _vectors(table, config)
        if view == "item_text":
            yield from _texts(table, config)
    elif view == "item_attributes":
        prices = columns.numbers(table["price"])
        with np.errstate(invalid="ignore"):
            wrong = np.isinf(prices) | (prices < config.quality.price_min)
        yield Rule("prices are finite and believable", wrong, "features relative to the price")
    elif view == "user_social":
        yield from _social(table)
    elif view == "item_trend":
        yield from _trend(table)


def _key(table: pa.Table, key: str, as_of_ms: int) -> Iterator[Rule]:
    ids = table[key]
    coded = pc.dictionary_encode(ids).combine_chunks()
    codes = np.asarray(pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    times = np.bincount(codes[codes >= 0], minlength=len(coded.dictionary) + 1)
    broken = (codes < 0) | (times[codes] > 1)
    yield Rule(f"every {key} is there, and once", broken, "one row answers for one id")
    if "as_of" in table.column_names:
        other = columns.mask(pc.fill_null(pc.not_equal(table["as_of"], as_of_ms), True))
        yield Rule("all rows are as of the same moment", other, "a row's age in the online store")


def _sequence(table: pa.Table, as_of_ms: int, config: Config) -> Iterator[Rule]:
    limit = config.features.history_limit
    counts = columns.lengths(table["times"])
    yield Rule(
        f"a history has 1 to {limit:,} events",
        (counts < 1) | (counts > limit),
        "the model reads at most features.history_limit events",
    )
    parallel = [name for name in table.column_names if columns.is_list(table[name])]
    uneven = np.zeros(len(counts), np.bool_)
    for name in parallel:
        uneven |= columns.lengths(table[name]) != counts
    yield Rule("the lists of a history are equally long", uneven, "they are read side by side")
    hollow = np.zeros(len(counts), np.bool_)
    for name in parallel:
        empty = columns.mask(pc.is_null(columns.flat(table[name])))
        if empty.any():
            hollow |= columns.rows_with(empty, columns.lengths(table[name]))
    yield Rule("no list holds a null", hollow, "Feast can't store a null inside a list")
    times = np.asarray(
        pc.fill_null(columns.flat(table["times"]), as_of_ms).to_numpy(zero_copy_only=False),
        np.int64,
    )
    owner = np.repeat(np.arange(len(counts)), counts)
    backwards = (np.diff(times) < 0) & (np.diff(owner) == 0)
    yield Rule(
        "events are in the order of time",
        columns.rows_with(np.concatenate([[False], backwards])[: len(times)], counts),
        "the model reads the gaps between them",
    )
    yield Rule(
        "every event is before the moment of the snapshot",
        columns.rows_with(times >= as_of_ms, counts),
        "otherwise training would see what serving can't",
    )
    yield Rule(
        "a history has more than one event",
        counts == 1,
        "one event says little about a person",
        config.features.expectations.single_event,
        f"{_SECTION}.single_event",
    )


def _activity(table: pa.Table, as_of_ms: int, windows: tuple[int, ...]) -> Iterator[Rule]:
    rows = table.num_rows
    numeric = [
        name
        for name in table.column_names
        if columns.is_number(table[name]) and name not in ("as_of", "last_event_ms")
    ]
    negative = np.zeros(rows, np.bool_)
    for name in numeric:
        values = columns.numbers(table[name])
        with np.errstate(invalid="ignore"):
            negative |= np.isinf(values) | (values < 0)
    yield Rule("counts and days are finite and not negative", negative, "they are counts")
    read = partial(_count, table)
    ordered = [f"events_{days}d" for days in sorted(windows)] + ["events_total"]
    shrinking = np.zeros(rows, np.bool_)
    for small, large in pairwise(ordered):
        shrinking |= read(small) > read(large)
    said = " ≤ ".join(name.removeprefix("events_") for name in ordered)
    yield Rule(f"a longer window holds no fewer events ({said})", shrinking, "windows are nested")
    longest = max(windows)
    parts = [f"{name}_{longest}d" for name in ("distinct_items", "active_days", "successes")]
    more = np.zeros(rows, np.bool_)
    for part in parts:
        more |= read(part) > read(f"events_{longest}d")
    yield Rule("no part of a window's events is larger than the window", more, "they are counted")
    last = columns.numbers(table["last_event_ms"])
    with np.errstate(invalid="ignore"):
        late = last >= as_of_ms
    yield Rule(
        "the last event is before the moment of the snapshot",
        late,
        "otherwise training would see what serving can't",
    )


def _count(table: pa.Table, name: str) -> columns.Floats:
    if name not in table.column_names:
        return np.zeros(table.num_rows)
    return np.asarray(np.nan_to_num(columns.numbers(table[name])), np.float64)


def _vectors(table: pa.Table, config: Config) -> Iterator[Rule]:
    tolerance = config.features.expectations.norm_tolerance
    for name in table.column_names:
        if name != "vector" and not name.startswith("vector_"):
            continue
        counts = columns.lengths(table[name])
        width = int(np.bincount(counts).argmax()) if len(counts) else 0
        uneven = counts != width
        yield Rule(f"every {name} is {width} wide", uneven, "vectors are compared by products")
        if uneven.any():
            continue
        vectors = columns.matrix(table[name])
        if vectors is None:
            continue
        norms = np.linalg.norm(vectors, axis=1)
        infinite = ~np.isfinite(norms)
        yield Rule(f"every {name} is finite", infinite, "one NaN spreads to every score")
        off = ~infinite & (norms != 0) & (np.abs(norms - 1) > tolerance)
        yield Rule(
            f"every {name} is of length 1, or zeros",
            off,
            "likeness is a plain product of such vectors",
        )
        encoder = name.replace("vector", "encoder", 1)
        if encoder in table.column_names:
            yield _one_encoder(table[encoder], encoder)


def _one_encoder(column: pa.ChunkedArray, name: str) -> Rule:
    counted = column.value_counts()
    most = counted.field("counts").to_numpy().argmax() if len(counted) else 0
    usual = counted.field("values")[int(most)] if len(counted) else pa.scalar(None, pa.string())
    other = columns.mask(pc.fill_null(pc.not_equal(column, usual), True))
    return Rule(f"one {name} made all vectors", other, "vectors of two encoders can't be compared")


def _texts(table: pa.Table, config: Config) -> Iterator[Rule]:
    expected = config.features.expectations
    vectors = columns.matrix(table["vector"])
    if vectors is not None:
        yield Rule(
            "an item has a text vector",
            np.asarray(~vectors.any(axis=1), np.bool_),
            "without one, only its own events tell what it is",
            expected.without_text,
            f"{_SECTION}.without_text",
        )
    coded = pc.dictionary_encode(table["content_hash"]).combine_chunks()
    codes = np.asarray(pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False), np.int64)
    shared: Bools = np.bincount(codes, minlength=1)[codes] > 1
    yield Rule(
        "an item's text is its own",
        np.asarray(shared & ~columns.missing(table["text"]), np.bool_),
        "items with the same text look the same to the model until people take them",
        expected.same_text,
        f"{_SECTION}.same_text",
    )


def _social(table: pa.Table) -> Iterator[Rule]:
    told = [json.loads(text) for text in table["followed"].to_pylist()]
    wrong = [
        not row["took"] or not all(0 < n <= len(row["users"]) for n in row["took"].values())
        for row in told
    ]
    yield Rule(
        "each item was taken by 1 to all of those who are followed",
        np.array(wrong, np.bool_),
        "a person counts once, and a row that tells nothing is none",
    )


def _trend(table: pa.Table) -> Iterator[Rule]:
    for name in ("level", "slope", "season", "forecast"):
        values = columns.numbers(table[name])
        yield Rule(f"{name} is finite", np.isinf(values), "one infinity spreads to every score")
    for name in ("level", "forecast"):
        values = columns.numbers(table[name])
        with np.errstate(invalid="ignore"):
            yield Rule(f"{name} is not negative", values < 0, "demand is a count")
