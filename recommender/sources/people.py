"""The users: everybody in the log, with whatever attributes the source has."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.mapping import UsersMapping
from recommender.sources.convert import identifiers, texts
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport
from recommender.tables import USERS, relaxed


def map_users(
    events: pa.Table, raw: Raw | None, mapping: UsersMapping | None, report: IngestReport
) -> pa.Table:
    """Turn raw rows (one per user) into canonical users.

    Args:
        events: canonical; users that only they name have no attributes.
        raw: the rows, or None where a source says nothing of its users.
        mapping: which column is what; None goes with `raw`.
        report: takes the number of rows read.

    Returns:
        the users of `raw` in its order, then those that only events name, sorted.
    """
    named = pc.drop_null(pc.unique(events["user_id"]))
    if raw is None or mapping is None:
        return _without_attributes(named.take(pc.array_sort_indices(named)))
    report.rows_read["users"] = len(raw)
    ids = identifiers(raw, mapping.user)
    labels = mapping.labels
    cells = {
        name: [
            None if cell is None else labels.get(name, {}).get(cell, cell)
            for cell in texts(raw, name).to_pylist()
        ]
        for name in mapping.attributes
    }
    rows = [
        [(name, column[index]) for name, column in cells.items() if column[index] is not None]
        for index in range(len(raw))
    ]
    described = pa.table(
        {"user_id": ids, "attributes": pa.array(rows, USERS.field("attributes").type)}
    ).cast(relaxed(USERS))
    others = named.filter(pc.invert(pc.is_in(named, value_set=pc.drop_null(ids))))
    rest = _without_attributes(others.take(pc.array_sort_indices(others)))
    return pa.concat_tables([described, rest]).combine_chunks()


def _without_attributes(ids: pa.Array) -> pa.Table:
    offsets = pa.array(np.zeros(len(ids) + 1, np.int32))
    nothing = pa.array([], pa.string())
    attributes = pa.MapArray.from_arrays(offsets, nothing, nothing)
    return pa.table({"user_id": ids, "attributes": attributes}).cast(relaxed(USERS))
