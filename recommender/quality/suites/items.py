"""What is expected of the rows of the item table."""

from __future__ import annotations

from recommender.config import Config
from recommender.quality.expect import Expectations, kinds, share

SHOWN = ("item_id", "title", "price")
"""Columns given with an example."""


def items_suite(config: Config) -> Expectations:
    """Expect items that are named once, described in readable words, at believable prices."""
    gxe = kinds()

    quality, rows = config.quality, config.quality.rows
    return [
        *share(
            gxe.ExpectColumnValuesToNotBeNull,
            "items: each has an id",
            "The row is removed.",
            "quality.rows.missing_item_id",
            rows.missing_item_id,
            column="item_id",
        ),
        *share(
            gxe.ExpectColumnValuesToBeInSet,
            "items: no id comes again",
            "The last row of an id stays.",
            "quality.rows.duplicate_item",
            rows.duplicate_item,
            column="is_last_of_id",
            value_set=[True],
        ),
        *share(
            gxe.ExpectColumnValuesToNotBeNull,
            "items: each has a title",
            "Items without words are known by their id alone.",
            "quality.rows.missing_title",
            rows.missing_title,
            column="title",
        ),
        *share(
            gxe.ExpectColumnValuesToNotMatchRegex,
            "items: the title is readable",
            "A replacement character stands where bytes were not of the expected encoding.",
            "quality.rows.unreadable_title",
            rows.unreadable_title,
            column="title",
            regex="\ufffd",
        ),
        *share(
            gxe.ExpectColumnValuesToBeInSet,
            f"items: the price is finite and at least {quality.price_min:g}",
            "Else it is set to missing and dealt with by policy: "
            f"{quality.imputation.items.price.policy}.",
            "quality.rows.price_out_of_range",
            rows.price_out_of_range,
            column="is_price_believable",
            value_set=[True],
        ),
    ]
