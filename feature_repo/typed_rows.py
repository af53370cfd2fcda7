"""Rows of the feature views, typed: what a query answers with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from feature_repo.online import ItemAttributes, ItemText, UserHistory

if TYPE_CHECKING:
    from feature_repo.stores.online_store import Row


@dataclass(frozen=True)
class Activity:
    """How active a user was before the moment of the answer.

    Attributes:
        counts: by name: `events_total`, `events_7d`, `distinct_items_90d` … (see
            `recommender.features.activity`).
        last_event_ms: UTC milliseconds.
        days_since_last: at the moment of the answer.
        as_of_ms: UTC milliseconds; the windows end here.
    """

    counts: dict[str, int]
    last_event_ms: int
    days_since_last: float
    as_of_ms: int


@dataclass(frozen=True)
class Answer:
    """Where an answer comes from.

    Attributes:
        origin: the `online` store, or the `events` themselves.
        as_of_ms: only what was known strictly before this moment is in it; None where the user
            has no events.
        data_version: of the canonical tables behind it; "" if it isn't recorded.
    """

    origin: Literal["online", "events"]
    as_of_ms: int | None
    data_version: str


@dataclass(frozen=True)
class UserFeatures:
    """What is known of a user; None where nothing is.

    Attributes:
        user_id: as in the events.
        answer: where this comes from.
        history: the most recent events.
        activity: counts and recency.
        attributes: whatever the source tells.
        sentence: the recent events in words; only where `features.text.behaviour` is on.
    """

    user_id: str
    answer: Answer
    history: UserHistory | None
    activity: Activity | None
    attributes: dict[str, str] | None
    sentence: str | None = None


@dataclass(frozen=True)
class ItemTrend:
    """The demand for an item, per period.

    Attributes:
        level, slope, season, forecast: see `recommender.features.trends`; NaN where unknown.
        method: that made them.
        period_ms: length of a period, milliseconds.
        as_of_ms: UTC milliseconds; events strictly before it are counted.
    """

    level: float
    slope: float
    season: float
    forecast: float
    method: str
    period_ms: int
    as_of_ms: int


@dataclass(frozen=True)
class ItemFeatures:
    """What is known of an item; None where nothing is.

    Attributes:
        item_id: as in the catalogue.
        text: title, text and vector.
        attributes: categories, brand, price.
        trend: demand.
    """

    item_id: str
    text: ItemText | None
    attributes: ItemAttributes | None
    trend: ItemTrend | None


def history_of(row: Row | None) -> UserHistory | None:
    """Return a row of `user_sequence` as a history."""
    if row is None:
        return None
    return UserHistory(
        tuple(row["item_ids"] or ()),
        tuple(row["actions"] or ()),
        tuple(row["times"] or ()),
        tuple(row["values"] or ()),
        int(row["as_of"]),
    )


def activity_of(row: Row | None) -> Activity | None:
    """Return a row of `user_activity`, typed."""
    if row is None:
        return None
    named = ("user_id", "last_event_ms", "days_since_last", "as_of", "event_timestamp", "created")
    counts = {name: int(value) for name, value in row.items() if name not in named}
    return Activity(
        dict(sorted(counts.items())),
        int(row["last_event_ms"]),
        float(row["days_since_last"]),
        int(row["as_of"]),
    )


def text_of(row: Row | None) -> ItemText | None:
    """Return a row of `item_text`, typed."""
    if row is None:
        return None
    return ItemText(
        row["title"],
        row["text"] or "",
        tuple(row["vector"] or ()),
        row["encoder"] or "",
        row["content_hash"] or "",
    )


def trend_of(row: Row | None) -> ItemTrend | None:
    """Return a row of `item_trend`, typed."""
    if row is None:
        return None
    figures = {
        name: math.nan if row[name] is None else float(row[name])
        for name in ("level", "slope", "season", "forecast")
    }
    return ItemTrend(
        **figures,
        method=row["method"] or "",
        period_ms=int(row["period_ms"]),
        as_of_ms=int(row["as_of"]),
    )
