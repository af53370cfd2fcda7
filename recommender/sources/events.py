"""The event log: raw rows to canonical events."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.mapping import EventsMapping
from recommender.errors import SourceError
from recommender.sources.conditions import dropped, event_types, without
from recommender.sources.convert import identifiers, judge, moments, numbers, texts
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport
from recommender.tables import EVENTS, relaxed

_ID_DIGITS = 12
_INT32_MAX = np.iinfo(np.int32).max


def map_events(raw: Raw, mapping: EventsMapping, report: IngestReport) -> tuple[pa.Table, Raw]:
    """Turn raw rows into canonical events.

    Args:
        raw: all rows of the log.
        mapping: which column is what.
        report: takes what was dropped or could not be read.

    Returns:
        the events, sorted by (time, event_id), with missing times last; and the raw rows they
        are made of, in the same order.

    Raises:
        SourceError: a column doesn't hold what it is mapped to, or no row is left.
    """
    report.rows_read["events"] = len(raw)
    raw = dropped(raw, mapping.drop, report)
    kinds = event_types(raw, mapping.types, report)
    if mapping.types.rules:
        untyped = kinds.is_null().to_numpy()
        shown = [rule.when.column for rule in mapping.types.rules if rule.when is not None]
        raw = without(raw, untyped, "no rule gives an event type", shown, report)
        kinds = kinds.filter(pa.array(~untyped))
    if not len(raw):
        reasons = "; ".join(f"{d.reason}: {d.count:,}" for d in report.dropped)
        raise SourceError(
            f"no event is left of {report.rows_read['events']:,} rows ({reasons})",
            "check source.events.drop and source.events.types",
        )
    columns = mapping.columns
    table = pa.table(
        {
            "event_id": _event_ids(raw, columns.event_id),
            "user_id": identifiers(raw, columns.user),
            "item_id": identifiers(raw, columns.item),
            "event": kinds,
            "time": moments(raw, columns.time, mapping.time, report),
            "value": _number(raw, columns.value, report),
            "surface": _text(raw, columns.surface),
            "position": _whole(raw, columns.position, report),
            "propensity": _number(raw, columns.propensity, report),
        }
    ).cast(relaxed(EVENTS))
    order = _order(table, by_id=columns.event_id is not None)
    return table.take(order), raw.take(order)


def _event_ids(raw: Raw, column: str | None) -> pa.ChunkedArray:
    if column is not None:
        return identifiers(raw, column)
    # A fixed width, so that ids sort like rows and don't change as the log grows.
    rows = pa.array(raw.rows).cast(pa.string())
    return pa.chunked_array([pc.utf8_lpad(rows, _ID_DIGITS, "0")])


def _order(table: pa.Table, *, by_id: bool) -> pa.Array:
    """Return the order by (time, event_id); missing ones last."""
    if by_id:
        keys = [("time", "ascending"), ("event_id", "ascending")]
        return pc.sort_indices(table, sort_keys=keys)  # missing ones last
    # Row numbers are in order already: a stable sort by time keeps them so, and is faster.
    times = table["time"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
    return pa.array(np.argsort(times.to_numpy(), kind="stable"))


def _number(raw: Raw, column: str | None, report: IngestReport) -> pa.ChunkedArray:
    return _nothing(raw, pa.float64()) if column is None else numbers(raw, column, report)


def _text(raw: Raw, column: str | None) -> pa.ChunkedArray:
    return _nothing(raw, pa.string()) if column is None else texts(raw, column)


def _whole(raw: Raw, column: str | None, report: IngestReport) -> pa.ChunkedArray:
    if column is None:
        return _nothing(raw, pa.int32())
    found = numbers(raw, column, report)
    values = found.to_numpy()
    wrong = np.isfinite(values) & ((values != np.floor(values)) | (np.abs(values) > _INT32_MAX))
    judge(raw, column, "a whole number", pa.chunked_array([pa.array(wrong)]), report)
    missing = wrong | ~np.isfinite(values)
    whole = np.where(missing, 0, values).astype(np.int32)
    return pa.chunked_array([pa.array(whole, mask=missing)])


def _nothing(raw: Raw, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(raw), kind)])
