"""What becomes of online rows that have changed since a snapshot was read, by view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from feature_repo.stores.online_store import Merge, Row
from feature_repo.stores.stamps import microseconds
from recommender.errors import FeatureError

STREAMED = "user_sequence"
"""The view that streamed events change."""


def merge_of(view: str, limit: int, skew_ms: int = 0) -> Merge | None:
    """Return how a snapshot row takes over what has been streamed since; None if nothing is.

    Args:
        view: name of the feature view.
        limit: most recent events that a sequence keeps.
        skew_ms: how far the clocks of stream and batch may be apart.
    """
    if view != STREAMED:
        return None
    from recommender.features.rebase import rebase

    def merge(snapshot: Row, stored: Row) -> Row:
        try:
            return rebase(snapshot, stored, limit, skew_ms)
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"a row of the snapshot of {view} can't take over what was streamed: {error}",
                "its lists must be parallel and without nulls; build the snapshot again",
            ) from error

    return merge


def remainder_of(
    view: str, limit: int, since: datetime, skew_ms: int = 0
) -> Callable[[Row], Row | None] | None:
    """Return what stays of a row that the snapshot does not hold; None if nothing does.

    Args:
        view: name of the feature view.
        limit: most recent events that a sequence keeps.
        since: when the reading of the snapshot's events began.
        skew_ms: how far the clocks of stream and batch may be apart.
    """
    if view != STREAMED:
        return None
    from recommender.features.rebase import arrived_since

    watermark_ms = microseconds(since, "since") // 1000
    return lambda stored: arrived_since(stored, watermark_ms, limit, skew_ms)
