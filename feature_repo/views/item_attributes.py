"""An item's plain attributes."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Array, Float64, String

from feature_repo.entities import ITEM, OWNER
from feature_repo.sources import FOREVER, snapshot


def item_attributes(location: str) -> FeatureView:
    """Return the view of an item's plain attributes."""
    return FeatureView(
        name="item_attributes",
        entities=[ITEM],
        ttl=FOREVER,
        schema=[
            Field(name="categories", dtype=Array(String), description="Most general first."),
            Field(name="brand", dtype=String, description="Null where unknown."),
            Field(name="price", dtype=Float64, description="Null or NaN where unknown."),
            Field(
                name="category_price",
                dtype=Float64,
                description="Median price of the most specific category with enough priced "
                "items; null or NaN where there is none.",
            ),
            Field(
                name="further",
                dtype=String,
                description="Further numbers and vectors, by name, as a JSON object; null where "
                "there are none.",
            ),
        ],
        source=snapshot("item_attributes", location),
        description="An item's plain attributes, and the price that its own is compared with.",
        tags={"personal_data": "no"},
        owner=OWNER,
    )
