"""A user's row when a new batch snapshot comes: what the batch holds, and what arrived since.

A new snapshot holds everything that had arrived before its reading began, its *watermark*. On top
of it comes what has reached us by stream since; whatever else the batch no longer holds goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from recommender.features.recent import Event, Recent, append

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rebase(
    snapshot: Mapping[str, Any], stored: Mapping[str, Any], limit: int, skew_ms: int = 0
) -> dict[str, Any]:
    """Return a snapshot's row with what has reached us since the snapshot was read.

    An event that both hold keeps the arrival it has in the stored row: so even a snapshot that
    was read before that arrival, but is published later, does not lose it. Nothing arrived is
    lost unless it had been pushed out of the stored window by events that the batch has dropped
    since; it has landed, so the next snapshot holds it.

    Args:
        snapshot: features by name, and `created`: when the reading of its events began, a
            datetime or UTC milliseconds.
        stored: features by name, as the online store holds them. One that is damaged counts as
            empty: everything in it that matters has landed.
        limit: most recent events kept.
        skew_ms: how far the clocks of the batch's reader and of the stream's writer may be
            apart; events that arrived up to this much before the watermark are kept as well.

    Returns:
        The row to write: features, `event_timestamp`, and the snapshot's `created`.
    """
    created = snapshot["created"]
    base = Recent.from_row(snapshot)
    since = _since(stored, _milliseconds(created) - skew_ms)
    arrivals = _arrivals(stored)
    remembered = [
        arrival or arrivals.get(name, 0)
        for name, arrival in zip(base.event_ids, base.arrivals, strict=True)
    ]
    as_of = max(base.as_of, *remembered, 0)
    base = replace(base, arrivals=remembered, as_of=as_of)
    merged = append(base, since, limit) or base
    return {**merged.row(), "created": created}


def arrived_since(
    stored: Mapping[str, Any], watermark_ms: int, limit: int, skew_ms: int = 0
) -> dict[str, Any] | None:
    """Return what remains of a user whom a new snapshot does not hold.

    Args:
        stored: features by name, as the online store holds them.
        watermark_ms: when the reading of the snapshot's events began, UTC milliseconds.
        limit: most recent events kept.
        skew_ms: as for `rebase`.

    Returns:
        A row of the events that have arrived since; None if there is none, and the row can go.
    """
    since = _since(stored, watermark_ms - skew_ms)
    made = append(None, since, limit)
    return None if made is None else made.row()


def _since(stored: Mapping[str, Any], watermark_ms: int) -> list[Event]:
    try:
        held = Recent.from_row(stored)
    except (TypeError, ValueError):
        return []
    # 0 is "by batch", also where a clock stands before 1970.
    return [e for e in held.events() if e.arrival and e.arrival >= watermark_ms]


def _arrivals(stored: Mapping[str, Any]) -> dict[str, int]:
    pairs = zip(stored.get("event_ids") or (), stored.get("arrivals") or (), strict=False)
    return {name: arrival for name, arrival in pairs if arrival}


def _milliseconds(moment: datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)
