"""What is wrong with single rows, in one place: what is judged is what is mended.

Every function returns masks over the rows of its table, True where the row is at fault.
Tables come from `columns.normalised`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.quality import QualityConfig
from recommender.quality.columns import (
    Bools,
    among,
    codes,
    milliseconds,
    missing,
    numbers,
    repeats,
)


def time_limits(config: QualityConfig, now: datetime) -> tuple[int, int]:
    """Return the earliest and the latest believable time, UTC milliseconds, both included."""
    latest = now.timestamp() + config.future_tolerance_s
    return round(config.epoch_start.timestamp() * 1000), round(latest * 1000)


def time_out_of_range(
    table: pa.Table, config: QualityConfig, now: datetime, name: str = "time"
) -> Bools:
    """Return rows before the configured start of time or after now (a null is not judged).

    Args:
        table: the rows.
        config: says when time began.
        now: the moment that nothing may lie after.
        name: of the column with the moments.
    """
    first, last = time_limits(config, now)
    times = milliseconds(table[name])
    return ((times < first) | (times > last)) & ~missing(table[name])


def backwards(events: pa.Table) -> Bools:
    """Return events that lie before the one above them in file order (nulls are stepped over)."""
    dated = np.flatnonzero(~missing(events["time"]))
    back = np.zeros(events.num_rows, np.bool_)
    back[dated[1:]] = np.diff(milliseconds(events["time"])[dated]) < 0
    return back


def unknown_event(events: pa.Table, types: Iterable[str]) -> Bools:
    """Return events of a type that isn't configured."""
    return ~among(events["event"], pa.chunked_array([pa.array(list(types), pa.string())]))


def copies(events: pa.Table) -> tuple[Bools, Bools, Bools]:
    """Find events that come more than once; the first one is never at fault.

    Returns:
        (rows,) each: the same as an earlier row in all but the id; the same user, item, type
        and time as an earlier row but different elsewhere; the id of an earlier, different row.
        Rows without user, item, type or time are not judged for the first two, unless the whole
        row comes again, id and all.
    """
    key = {name: codes(events[name]) for name in ("user_id", "item_id", "event")}
    absent = missing(events["time"])
    key |= {"time": milliseconds(events["time"]), "undated": absent.astype(np.int64)}
    judged = ~absent
    for name in ("user_id", "item_id", "event"):
        judged &= key[name] >= 0
    rest = {name: numbers(events[name]) for name in ("value", "position", "propensity")}
    ids = codes(events["event_id"])
    content = {**key, "surface": codes(events["surface"]), **rest}
    same = repeats(content) & judged | repeats({**content, "id": ids}) & (ids >= 0)
    repeated = repeats(key) & judged & ~same
    collides = np.zeros(len(ids), np.bool_)
    others = np.flatnonzero(~same & (ids >= 0))
    collides[others] = repeats({"id": ids[others]})
    return same, repeated, collides


def value_not_finite(events: pa.Table) -> Bools:
    """Return events with an infinite value."""
    return np.isinf(numbers(events["value"]))


def value_out_of_range(events: pa.Table, config: QualityConfig) -> Bools:
    """Return events with a finite value outside the configured range."""
    values = numbers(events["value"])
    low = -np.inf if config.value_min is None else config.value_min
    high = np.inf if config.value_max is None else config.value_max
    return np.isfinite(values) & ((values < low) | (values > high))


def position_out_of_range(events: pa.Table) -> Bools:
    """Return events with a negative position."""
    return numbers(events["position"]) < 0


def propensity_out_of_range(events: pa.Table) -> Bools:
    """Return events with a propensity outside (0, 1]."""
    propensity = numbers(events["propensity"])
    return ~((propensity > 0) & (propensity <= 1)) & ~np.isnan(propensity)


def price_out_of_range(items: pa.Table, config: QualityConfig) -> Bools:
    """Return items with an infinite price or one below the configured smallest."""
    prices = numbers(items["price"])
    return (prices < config.price_min) | np.isinf(prices)


def superseded(table: pa.Table, key: str) -> Bools:
    """Return rows whose id comes again further down (a missing id is not judged)."""
    ids = codes(table[key])
    return repeats({"id": ids}, keep="last") & (ids >= 0)


def ends_missing(follows: pa.Table) -> Bools:
    """Return edges that lack one of their two users."""
    return missing(follows["user_id"]) | missing(follows["followed_user_id"])


def to_oneself(follows: pa.Table) -> Bools:
    """Return edges from a user to the same (a missing end is not judged)."""
    same = pc.equal(follows["user_id"], follows["followed_user_id"])
    return np.asarray(pc.fill_null(same, False).to_numpy(), np.bool_)


def followed_unknown(follows: pa.Table, users: pa.Table, events: pa.Table) -> Bools:
    """Return edges to somebody whom neither a user nor an event names (a null is not judged)."""
    followed = follows["followed_user_id"]
    return ~(among(followed, users["user_id"]) | among(followed, events["user_id"]))


def followed_again(follows: pa.Table) -> Bools:
    """Return edges that come with an earlier moment, too, or as early further up.

    One with a moment stays before one without. An edge with a missing end is not judged.
    """
    undated = missing(follows["since"])
    since = np.where(undated, np.iinfo(np.int64).max, milliseconds(follows["since"]))
    order = np.argsort(since, kind="stable")
    ends = {name: codes(follows[name])[order] for name in ("user_id", "followed_user_id")}
    again = np.zeros(len(order), np.bool_)
    again[order] = repeats(ends)
    return again & ~ends_missing(follows)
