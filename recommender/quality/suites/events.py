"""What is expected of the rows of the event table."""

from __future__ import annotations

from datetime import datetime

from recommender.config import Config
from recommender.quality.expect import Expectations, inert, kinds, share


def events_suite(config: Config, latest: datetime) -> Expectations:
    """Expect events that name who, what and when, refer to what is known, and come once.

    Columns that begin with `is_` or `goes_` are made by `frames.events_frame`.

    Args:
        config: `quality` and `actions` are read.
        latest: an event after this moment is in the future.
    """
    gxe = kinds()

    quality, rows = config.quality, config.quality.rows
    made: Expectations = []
    for column, said, limit, then in (
        ("event_id", "has an id", "missing_event_id", "The row is removed."),
        ("user_id", "has a user", "missing_user", "The row is removed."),
        ("item_id", "has an item", "missing_item", "The row is removed."),
        ("event", "has a type", "missing_event", _policy(config, "event")),
        ("time", "has a time", "missing_time", _policy(config, "time")),
    ):
        made += share(
            gxe.ExpectColumnValuesToNotBeNull,
            f"events: each {said}",
            then,
            f"quality.rows.{limit}",
            getattr(rows, limit),
            column=column,
        )
    made += share(
        gxe.ExpectColumnValuesToBeBetween,
        "events: the time is believable",
        f"From {quality.epoch_start:%Y-%m-%d} to {latest:%Y-%m-%d %H:%M} UTC; else the row is "
        "removed. Times in the wrong unit (seconds for milliseconds) end up here.",
        "quality.rows.time_out_of_range",
        rows.time_out_of_range,
        column="time",
        min_value=quality.epoch_start,
        max_value=latest,
    )
    made += share(
        gxe.ExpectColumnValuesToBeInSet,
        "events: the type is configured",
        "Else the row is removed; actions.types names the types.",
        "quality.rows.unknown_event",
        rows.unknown_event,
        column="event",
        value_set=[inert(name) for name in config.actions.types],
    )
    for column, said, limit, then in _MARKS:
        made += share(
            gxe.ExpectColumnValuesToBeInSet,
            f"events: {said}",
            then,
            f"quality.rows.{limit}",
            getattr(rows, limit),
            column=column,
            value_set=[True],
        )
    if quality.value_min is not None or quality.value_max is not None:
        made += share(
            gxe.ExpectColumnValuesToBeBetween,
            "events: the value is believable",
            "Else it is set to missing.",
            "quality.rows.value_out_of_range",
            rows.value_out_of_range,
            column="value",
            min_value=quality.value_min,
            max_value=quality.value_max,
        )
    made += share(
        gxe.ExpectColumnValuesToBeBetween,
        "events: the position is not negative",
        "Else it is set to missing.",
        "quality.rows.position_out_of_range",
        rows.position_out_of_range,
        column="position",
        min_value=0,
    )
    made += share(
        gxe.ExpectColumnValuesToBeBetween,
        "events: the propensity is a probability above 0",
        "Else it is set to missing; off-policy estimates divide by it.",
        "quality.rows.propensity_out_of_range",
        rows.propensity_out_of_range,
        column="propensity",
        min_value=0,
        strict_min=True,
        max_value=1,
    )
    return made


_MARKS = (
    (
        "is_item_known",
        "the item is in the catalogue",
        "unknown_item",
        "Else the row is removed: nothing describes the item.",
    ),
    (
        "is_user_known",
        "the user is in the user table",
        "unknown_user",
        "Else the user is added, without attributes.",
    ),
    (
        "is_new",
        "none is a copy of an earlier one",
        "duplicate_event",
        "The same in all but the id; the copy is removed.",
    ),
    (
        "is_not_repeated",
        "same user, item, type and time come once",
        "repeated_event",
        "Rows that differ elsewhere (a quantity) are kept.",
    ),
    (
        "is_id_its_own",
        "no id is used for two different events",
        "duplicate_event_id",
        "Else the first one stays.",
    ),
    (
        "is_value_finite",
        "the value is finite",
        "value_not_finite",
        "Else it is set to missing.",
    ),
    (
        "goes_forward",
        "times don't go back in file order",
        "backwards_time",
        "The rows are sorted; many of them hint at a mixed-up source.",
    ),
)


def _policy(config: Config, column: str) -> str:
    policy = getattr(config.quality.imputation.events, column).policy
    return "The row is removed." if policy == "drop" else f"Dealt with by policy: {policy}."


SHOWN = ("event_id", "user_id", "item_id", "event", "time", "value")
"""Columns given with an example."""

CATEGORIES = ("user_id", "item_id", "event")
"""Text columns with few distinct values: held as codes, which saves most of the memory."""
