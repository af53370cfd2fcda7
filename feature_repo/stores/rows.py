"""Snapshot batches as rows ready for a store, and the rule by which they get in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.arrow_values import encoded, kind_of_column
from feature_repo.stores.online_store import Merge, Row, replace
from feature_repo.stores.stamps import Stamp, microseconds, moment, now_us
from feature_repo.wire import KINDS, decode_value, encode_key, encode_value
from recommender.errors import FeatureError

EVENT, CREATED = "event_timestamp", "created"

_ROWS = 2_000
_BYTES = 8 << 20
"""Most rows and about the most bytes that are held encoded at a time."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one view, encoded; the lists are parallel and ids differ.

    Attributes:
        ids: values of the join key.
        keys: Feast's entity keys.
        values: by feature, the messages.
        stamps: their age; the base of each is its own `created`.
        older: rows left out, because a newer one of the same id is here.
    """

    ids: list[str]
    keys: list[bytes]
    values: dict[str, list[bytes]]
    stamps: list[Stamp]
    older: int

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> Row:
        """Return one row as functions that change rows see it."""
        held = {name: messages[index] for name, messages in self.values.items()}
        return decoded(held, self.stamps[index])


def decoded(values: Mapping[str, bytes], stamp: Stamp) -> Row:
    """Return the row of stored messages, with `event_timestamp` and `created`."""
    row: Row = {name: decode_value(message) for name, message in values.items()}
    return {**row, EVENT: moment(stamp.event), CREATED: moment(stamp.created)}


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


@dataclass(frozen=True)
class Verdict:
    """What is to be done with some rows, by their index.

    Attributes:
        put: written as they are.
        merged: to be merged with what is stored.
        stale: how many are left out.
    """

    put: list[int]
    merged: list[int]
    stale: int


def judge(stamps: Sequence[Stamp], stored: Sequence[Stamp | None], merge: Merge | None) -> Verdict:
    """Decide which snapshot rows get in; see `OnlineStore.write`.

    Args:
        stamps: of the snapshot rows.
        stored: of what the store holds of the same entities.
        merge: as given to `write`.
    """
    put: list[int] = []
    merged: list[int] = []
    if merge is replace:
        return Verdict(list(range(len(stamps))), merged, 0)
    for index, (new, old) in enumerate(zip(stamps, stored, strict=True)):
        if old is None:
            put.append(index)
        elif merge is None:
            if new[:2] >= old[:2]:
                put.append(index)
        elif old.base > new.created:
            continue
        elif old.event > new.event or old.created >= new.created:
            merged.append(index)
        else:
            put.append(index)
    return Verdict(put, merged, len(stamps) - len(put) - len(merged))


def prepared(
    view: str, each: str, row: Row, kinds: Mapping[str, str], base: int
) -> tuple[dict[str, bytes], Stamp]:
    """Return the messages and the age of a row that a function has made.

    Args:
        view: name of the feature view, for messages.
        each: whose row it is, for messages.
        row: features by name, `event_timestamp`, and `created` (now by default).
        kinds: of all features of the view.
        base: `created` of the snapshot on which it stands.

    Raises:
        FeatureError: it has no moment, a feature that the view lacks, or a value of another kind.
    """
    if EVENT not in row:
        raise FeatureError(f"the new row of {each!r} in {view} has no {EVENT}")
    created = row.get(CREATED)
    stamp = Stamp(
        microseconds(row[EVENT], EVENT),
        now_us() if created is None else microseconds(created, CREATED),
        base,
    )
    values = {}
    for name, value in row.items():
        if name in (EVENT, CREATED):
            continue
        if name not in kinds:
            raise FeatureError(
                f"{view} has no feature {name!r}; it has {', '.join(sorted(kinds))}",
                "apply the definitions, then write again",
            )
        try:
            values[name] = encode_value(value, kinds[name])
        except FeatureError as error:
            raise FeatureError(f"{view} of {each!r}: {name}: {error.message}") from None
    return values, stamp


def checked(view: str, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return kinds as given.

    Raises:
        FeatureError: one of them isn't known.
    """
    unknown = {name: kind for name, kind in kinds.items() if kind not in KINDS}
    if unknown:
        name, kind = next(iter(unknown.items()))
        raise FeatureError(
            f"{len(unknown)} features of {view} are of kinds that the stores can't keep, e.g. "
            f"{name}: {kind}",
            f"one of {', '.join(KINDS)}; moments are int64 milliseconds",
        )
    return dict(kinds)
