"""Snapshot batches (Arrow) → rows ready for a store, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.arrow_values import encoded, kind_of_column
from feature_repo.stores.rows import CREATED, EVENT, Rows
from feature_repo.stores.stamps import Stamp
from feature_repo.wire import encode_key
from recommender.errors import FeatureError

_ROWS = 2_000
_BYTES = 8 << 20
"""Most rows and about the most bytes that are held encoded at a time."""


def kinds_of(key: str, schema: pa.Schema) -> dict[str, str]:
    """Return the features of a snapshot and their kinds, as `OnlineStore.declare` takes them.

    Raises:
        FeatureError: a column's type can't be kept.
    """
    left_out = (key, EVENT, CREATED)
    return {
        field.name: kind_of_column(field.name, field.type)
        for field in schema
        if field.name not in left_out
    }


def encoded_rows(view: str, key: str, batches: Iterable[pa.RecordBatch]) -> Iterator[Rows]:
    """Yield the rows of snapshot batches, some at a time.

    Raises:
        FeatureError: as `OnlineStore.write` says.
    """
    for batch in batches:
        if key not in batch.schema.names or EVENT not in batch.schema.names:
            raise FeatureError(
                f"rows of {view} have the columns {', '.join(batch.schema.names)}; "
                f"{key} and {EVENT} are needed"
            )
        each = max(1, min(_ROWS, _BYTES * batch.num_rows // max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, each):
            yield _encoded(view, key, batch.slice(start, each))


def _encoded(view: str, key: str, batch: pa.RecordBatch) -> Rows:
    try:
        stamps = _stamps(batch)
        batch, stamps, older = _newest(key, batch, stamps)
        ids = _ids(key, batch)
        names = kinds_of(key, batch.schema)
        values = {name: encoded(name, batch.column(name)) for name in names}
    except FeatureError as error:
        raise FeatureError(f"{view}: {error.message}", error.hint) from None
    return Rows(ids, [encode_key(key, each) for each in ids], values, stamps, older)


def _ids(key: str, batch: pa.RecordBatch) -> list[str]:
    column = batch.column(key)
    if column.null_count:
        raise FeatureError(f"{column.null_count} rows have no {key}")
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise FeatureError(f"{key} is of the type {column.type}, not text")
    ids: list[str] = column.to_pylist()
    return ids


def _stamps(batch: pa.RecordBatch) -> list[Stamp]:
    events = _microseconds(batch.column(EVENT), EVENT)
    created = events
    if CREATED in batch.schema.names:
        created = _microseconds(batch.column(CREATED), CREATED)
    return [Stamp(e, c, c) for e, c in zip(events, created, strict=True)]


def _microseconds(column: pa.Array, name: str) -> list[int]:
    if not pa.types.is_timestamp(column.type):
        raise FeatureError(f"{name} is of the type {column.type}, not a timestamp")
    if column.null_count:
        raise FeatureError(f"{column.null_count} rows have no {name}")
    # Arrow keeps UTC beside a time zone, and a moment without one is taken as UTC.
    fine = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
    numbers: list[int] = fine.cast(pa.int64()).to_pylist()
    return numbers


def _newest(
    key: str, batch: pa.RecordBatch, stamps: list[Stamp]
) -> tuple[pa.RecordBatch, list[Stamp], int]:
    """Leave the newest row of each id; of equally new ones the last."""
    if pc.count_distinct(batch.column(key)).as_py() == batch.num_rows:
        return batch, stamps, 0
    best: dict[Any, int] = {}
    for index, each in enumerate(batch.column(key).to_pylist()):
        if each not in best or stamps[index] >= stamps[best[each]]:
            best[each] = index
    kept = sorted(best.values())
    older = batch.num_rows - len(kept)
    return batch.take(pa.array(kept, pa.int64())), [stamps[i] for i in kept], older
