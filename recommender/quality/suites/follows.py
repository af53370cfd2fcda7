"""What is expected of the rows of the follow graph, where there is one."""

from __future__ import annotations

from datetime import datetime

from recommender.config import Config
from recommender.quality.expect import Expectations, kinds, share

SHOWN = ("user_id", "followed_user_id")
"""Columns given with an example."""


def follows_suite(config: Config, latest: datetime) -> Expectations:
    """Expect edges between two people, once each, from a believable moment on.

    Columns that begin with `is_` or `has_` are made by `frames.follows_frame`.

    Args:
        config: `quality` is read.
        latest: an edge since after this moment is since the future.
    """
    gxe = kinds()

    quality, rows = config.quality, config.quality.rows
    made: Expectations = []
    for column, said, limit, then in (
        ("has_both_ends", "each has two users", "missing_follow_end", "Else the row is removed."),
        ("is_to_another", "nobody follows themselves", "self_follow", "Else the row is removed."),
        ("is_new", "no edge comes again", "duplicate_follow", "The earliest row of an edge stays."),
        (
            "is_followed_known",
            "the followed user is known",
            "unknown_followed",
            "Else the row is removed: nothing is known of what they took.",
        ),
    ):
        made += share(
            gxe.ExpectColumnValuesToBeInSet,
            f"follows: {said}",
            then,
            f"quality.rows.{limit}",
            getattr(rows, limit),
            column=column,
            value_set=[True],
        )
    made += share(
        gxe.ExpectColumnValuesToBeBetween,
        "follows: the time is believable",
        f"From {quality.epoch_start:%Y-%m-%d} to {latest:%Y-%m-%d %H:%M} UTC; else the row is "
        "removed. An edge without a time is not judged.",
        "quality.rows.since_out_of_range",
        rows.since_out_of_range,
        column="since",
        min_value=quality.epoch_start,
        max_value=latest,
    )
    return made
