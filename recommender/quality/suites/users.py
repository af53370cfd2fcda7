"""What is expected of the rows of the user table."""

from __future__ import annotations

from recommender.config import Config
from recommender.quality.expect import Expectations, kinds, share

SHOWN = ("user_id",)
"""Columns given with an example."""


def users_suite(config: Config) -> Expectations:
    """Expect users that are named, and named once."""
    gxe = kinds()

    rows = config.quality.rows
    return [
        *share(
            gxe.ExpectColumnValuesToNotBeNull,
            "users: each has an id",
            "The row is removed.",
            "quality.rows.missing_user_id",
            rows.missing_user_id,
            column="user_id",
        ),
        *share(
            gxe.ExpectColumnValuesToBeInSet,
            "users: no id comes again",
            "The last row of an id stays.",
            "quality.rows.duplicate_user",
            rows.duplicate_user,
            column="is_last_of_id",
            value_set=[True],
        ),
    ]
