"""How demand for an item moves."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Float64, Int64, String

from feature_repo.entities import ITEM, OWNER
from feature_repo.sources import FOREVER, snapshot


def item_trend(location: str) -> FeatureView:
    """Return the view of how demand for an item moves."""
    return FeatureView(
        name="item_trend",
        entities=[ITEM],
        ttl=FOREVER,
        schema=[
            Field(name="level", dtype=Float64, description="Demand per period, without season."),
            Field(name="slope", dtype=Float64, description="Change of the level per period."),
            Field(
                name="season",
                dtype=Float64,
                description="What its season adds to the period that is running at as_of.",
            ),
            Field(
                name="forecast",
                dtype=Float64,
                description="Demand in the period that is running at as_of.",
            ),
            Field(
                name="method",
                dtype=String,
                description="What forecast it; none: nothing is known of this item.",
            ),
            Field(name="period_ms", dtype=Int64, description="Length of a period."),
            Field(
                name="as_of",
                dtype=Int64,
                description="UTC milliseconds; reads the periods that ended by then.",
            ),
        ],
        source=snapshot("item_trend", location),
        description="Demand for an item, of the successes of everybody: level, slope, season and "
        "the forecast, from whole periods that ended by the snapshot's moment.",
        tags={"personal_data": "no"},
        owner=OWNER,
    )
