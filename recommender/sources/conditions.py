"""Tests of raw columns: which rows are left out, and which event type a row is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config.mapping import Condition, DropRule, EventTypes
from recommender.sources.convert import numbers, texts
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport

Mask = NDArray[np.bool_]


def holds(raw: Raw, condition: Condition, report: IngestReport) -> Mask:
    """Tell for each row whether a condition holds, (R,).

    Raises:
        SourceError: a number is tested, and most cells aren't numbers.
    """
    kept = np.ones(len(raw), bool)
    column = raw.columns[condition.column]
    missing = column.is_null().to_numpy()
    if condition.is_missing is not None:
        kept &= missing == condition.is_missing
    if condition.equals:
        kept &= _text(raw, condition, lambda cell: cell in condition.equals)
    if condition.starts_with is not None:
        start = condition.starts_with
        kept &= _text(raw, condition, lambda cell: cell.startswith(start))
    if condition.matches is not None:
        found = re.compile(condition.matches).search
        kept &= _text(raw, condition, lambda cell: found(cell) is not None)
    if condition.not_matching is not None:
        sought = re.compile(condition.not_matching).search
        kept &= missing | _text(raw, condition, lambda cell: sought(cell) is None)
    if condition.numeric:
        kept &= _within(numbers(raw, condition.column, report).to_numpy(), condition)
    return kept


def dropped(raw: Raw, rules: Sequence[DropRule], report: IngestReport) -> Raw:
    """Leave out the rows that a rule names, rule by rule, and count them."""
    for rule in rules:
        gone = holds(raw, rule, report)
        raw = without(raw, gone, rule.reason, [rule.column], report)
    return raw


def without(raw: Raw, gone: Mask, reason: str, shown: Sequence[str], report: IngestReport) -> Raw:
    """Leave out the rows where `gone` (R,) holds and count them under `reason`."""
    if not gone.any():
        return raw
    example = raw.example(int(np.argmax(gone)), shown)
    report.drop(raw.table, reason, int(gone.sum()), example)
    return raw.where(~gone)


def event_types(raw: Raw, types: EventTypes, report: IngestReport) -> pa.ChunkedArray:
    """Return each row's event type; null where there is none."""
    if types.column is not None:
        return _renamed(texts(raw, types.column), types.rename)
    names = list(dict.fromkeys(rule.event for rule in types.rules))
    codes = np.full(len(raw), -1, np.int32)
    for rule in types.rules:
        open_rows = codes < 0
        if rule.when is not None:
            open_rows &= holds(raw, rule.when, report)
        codes[open_rows] = names.index(rule.event)
    indices = pa.array(codes, mask=codes < 0)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, names).cast(pa.string())])


def _renamed(column: pa.ChunkedArray, rename: dict[str, str]) -> pa.ChunkedArray:
    chunks = []
    for chunk in column.chunks:
        coded = chunk.dictionary_encode()
        names = [rename.get(name, name) for name in coded.dictionary.to_pylist()]
        # `take` rather than a new dictionary: two old names may share a new one.
        chunks.append(pa.array(names, pa.string()).take(coded.indices))
    return pa.chunked_array(chunks, pa.string())


def _text(raw: Raw, condition: Condition, test: Callable[[str], bool]) -> Mask:
    """Test texts, each different one once (Python's regular expressions, few different cells)."""
    coded = pc.dictionary_encode(texts(raw, condition.column))
    results = []
    for chunk in coded.chunks:
        answers = np.array([test(cell) for cell in chunk.dictionary.to_pylist()] + [False])
        rows = chunk.indices.fill_null(len(answers) - 1).to_numpy()
        results.append(answers[rows])
    return np.concatenate(results) if results else np.zeros(0, bool)


def _within(values: NDArray[np.float64], condition: Condition) -> Mask:
    kept = np.isfinite(values)
    # A comparison with NaN is false, as it should be.
    if condition.above is not None:
        kept &= values > condition.above
    if condition.at_least is not None:
        kept &= values >= condition.at_least
    if condition.below is not None:
        kept &= values < condition.below
    if condition.at_most is not None:
        kept &= values <= condition.at_most
    return kept
