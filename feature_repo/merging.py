"""What becomes of online rows that have changed since a snapshot was read, by view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from feature_repo.stores.online_store import Merge, Row
from feature_repo.stores.stamps import microseconds

STREAMED = "user_sequence"
"""The view that streamed events change."""


def merge_of(view: str, limit: int) -> Merge | None:
    """Return how a snapshot row takes over what has been streamed since; None if nothing is.

    Args:
        view: name of the feature view.
        limit: most recent events that a sequence keeps.
    """
    if view != STREAMED:
        return None
    from recommender.features.recent import rebase

    return lambda snapshot, stored: rebase(snapshot, stored, limit)


def remainder_of(view: str, limit: int, since: datetime) -> Callable[[Row], Row | None] | None:
    """Return what stays of a row that the snapshot does not hold; None if nothing does.

    Args:
        view: name of the feature view.
        limit: most recent events that a sequence keeps.
        since: when the reading of the snapshot's events began.
    """
    if view != STREAMED:
        return None
    from recommender.features.recent import arrived_since

    watermark_ms = microseconds(since, "since") // 1000
    return lambda stored: arrived_since(stored, watermark_ms, limit)
