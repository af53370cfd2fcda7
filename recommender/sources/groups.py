"""One row per item or user out of many: what was said first, or the latest value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.mapping import LongFormat
from recommender.errors import SourceError
from recommender.sources.convert import identifiers, texts
from recommender.sources.raw import Raw


def first_seen(log: Raw, table: str, key: str, columns: Sequence[str]) -> Raw:
    """Return one row per id, sorted by id: what the log said of it first.

    The first cell and not the most frequent one, because what comes later in the log must not
    change what is known of an item earlier: titles become text vectors, which models learn from.

    Args:
        log: rows of the event log in the order of time.
        table: what the rows are for: items or users.
        key: the column with the id; rows without one are left out.
        columns: summarised by their first cell that isn't missing.
    """
    ids = identifiers(log, key).to_pandas()
    known = ids.notna().to_numpy()
    first = pd.Series(np.arange(len(ids)))[known].groupby(ids[known]).first().sort_index()
    arrays: dict[str, pa.ChunkedArray] = {
        key: pa.chunked_array([pa.array(first.index, pa.string())])
    }
    for name in columns:
        column = log.columns[name]
        present = known & ~column.is_null().to_numpy()
        rows = pd.Series(np.flatnonzero(present)).groupby(ids[present].to_numpy()).first()
        taken = rows.reindex(first.index)
        arrays[name] = column.take(pa.array(taken, pa.int64(), from_pandas=True))
    return Raw(table, pa.table(arrays), log.rows[first.to_numpy()], log.files, log.private)


def widened(raw: Raw, key: str, long: LongFormat, properties: Sequence[str]) -> Raw:
    """Turn one row per item and property into one row per item; the latest value wins.

    Args:
        raw: the long rows.
        key: the column with the item's id.
        long: the other columns.
        properties: names of properties that become columns.

    Raises:
        SourceError: no row names one of them.
    """
    found = pc.unique(texts(raw, long.property)).to_pylist()
    for name in properties:
        if name not in found:
            raise SourceError(
                f"source.items: no row of {raw.files[0][0]} has the property {name!r}; the "
                f"first of {len(found):,} there are {', '.join(map(repr, found[:8]))}",
                "source.items.columns must name properties where source.items.long is set",
            )
    frame = pd.DataFrame(
        {
            "id": identifiers(raw, key).to_pandas(),
            "property": texts(raw, long.property).to_pandas(),
            "value": texts(raw, long.value).to_pandas(),
        }
    )
    first = frame.index.to_series().groupby(frame["id"], sort=True).first()
    frame = frame[frame["property"].isin(properties)]
    if long.time is not None:
        times = _sortable(raw, long.time).iloc[frame.index]
        frame = frame.iloc[np.argsort(times.to_numpy(), kind="stable")]
    latest = frame.drop_duplicates(["id", "property"], keep="last")
    arrays = {key: pa.array(first.index, pa.string())}
    for name in properties:
        cells = latest[latest["property"] == name].set_index("id")["value"]
        arrays[name] = pa.array(cells.reindex(first.index), pa.string(), from_pandas=True)
    return Raw(raw.table, pa.table(arrays), raw.rows[first.to_numpy()], raw.files, raw.private)


def _sortable(raw: Raw, name: str) -> pd.Series:
    """Return a column as numbers, if it holds some, else ranked as text (ISO moments)."""
    column = raw.columns[name]
    if column.type != pa.string():
        return pd.Series(column.cast(pa.int64(), safe=False).fill_null(0).to_numpy())
    if pc.all(pc.match_substring_regex(column, r"^\d+$")).as_py():
        return pd.Series(column.cast(pa.int64()).fill_null(0).to_numpy())
    return pd.Series(column.fill_null("").to_pandas()).rank(method="dense")
