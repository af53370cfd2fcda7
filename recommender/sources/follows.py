"""The follow graph: who follows whom, and since when."""

from __future__ import annotations

import pyarrow as pa

from recommender.config.mapping import FollowsMapping
from recommender.sources.convert import identifiers, moments
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport
from recommender.tables import FOLLOWS, TIME, relaxed


def map_follows(raw: Raw, mapping: FollowsMapping, report: IngestReport) -> pa.Table:
    """Turn raw rows (one per edge) into canonical edges, in their order.

    Args:
        raw: the rows.
        mapping: which column is what.
        report: takes the number of rows read, and moments that could not be.

    Raises:
        SourceError: `since` doesn't hold moments.
    """
    report.rows_read["follows"] = len(raw)
    since = (
        pa.chunked_array([pa.nulls(len(raw), TIME)])
        if mapping.since is None
        else moments(raw, mapping.since, mapping.time, report)
    )
    return pa.table(
        {
            "user_id": identifiers(raw, mapping.user),
            "followed_user_id": identifiers(raw, mapping.followed),
            "since": since,
        }
    ).cast(relaxed(FOLLOWS))
