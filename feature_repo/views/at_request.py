"""What is worked out when it is asked for: recency as of now, price and demand in proportion.

The registry carries the source of these functions, and whoever reads the registry runs it. So
they stand alone (built-in names only), and only `apply` may write the registry.

They take and return whole batches: Feast's one-row mode fails on rows that hold lists.
"""

from __future__ import annotations

import inspect
from typing import Any

from feast import FeatureView, Field, OnDemandFeatureView, RequestSource
from feast.feature_view_projection import FeatureViewProjection
from feast.types import Float64, Int64

from feature_repo.entities import OWNER


def views_at_request(views: dict[str, FeatureView]) -> dict[str, OnDemandFeatureView]:
    """Return every on-demand view by its name.

    Args:
        views: as `feature_repo.views.views` returns them.
    """
    moment = RequestSource(
        name="moment",
        schema=[Field(name="now_ms", dtype=Int64, description="UTC milliseconds.")],
        description="When a question is asked; what is asked tells it.",
        owner=OWNER,
    )
    made = [
        _view(
            "user_recency",
            [views["user_sequence"][["times"]], moment],
            "days_since_last_event",
            days_since_last_event,
            "How long ago, as of the request, the user's newest known event was, in days of 24 "
            "hours; also events that the stream brought. 0 where it lies after the request, null "
            "for unknown users.",
            {"personal_data": "yes"},
        ),
        _view(
            "item_relative_price",
            [views["item_attributes"][["price", "category_price"]]],
            "relative_price",
            relative_price,
            "An item's price divided by the median of its category; null where either is unknown.",
            {"personal_data": "no"},
        ),
        _view(
            "item_demand_lift",
            [views["item_trend"][["level", "forecast"]]],
            "demand_lift",
            demand_lift,
            "By which share the next period's forecast demand is above the item's level; null "
            "where there is no demand to compare with.",
            {"personal_data": "no"},
        ),
    ]
    return {view.name: view for view in made}


def days_since_last_event(inputs: dict[str, list]) -> dict[str, list]:  # type: ignore[type-arg]
    """Return the days between each user's newest event and the moment of asking."""
    days = []
    for times, now in zip(inputs["times"], inputs["now_ms"], strict=True):
        known = times is not None and len(times) > 0 and now is not None
        days.append(max(0.0, (int(now) - int(max(times))) / 86_400_000) if known else None)
    return {"days_since_last_event": days}


def relative_price(inputs: dict[str, list]) -> dict[str, list]:  # type: ignore[type-arg]
    """Return each price divided by the level of its category."""
    ratios = []
    for price, level in zip(inputs["price"], inputs["category_price"], strict=True):
        # A missing number arrives as None or as NaN, and NaN is not above 0.
        known = price is not None and level is not None and price >= 0 and level > 0
        ratios.append(float(price) / float(level) if known else None)
    return {"relative_price": ratios}


def demand_lift(inputs: dict[str, list]) -> dict[str, list]:  # type: ignore[type-arg]
    """Return by which share each forecast is above the level."""
    lifts = []
    for level, forecast in zip(inputs["level"], inputs["forecast"], strict=True):
        known = level is not None and forecast is not None and level > 0 and forecast >= 0
        lifts.append(float(forecast) / float(level) - 1 if known else None)
    return {"demand_lift": lifts}


def _view(
    name: str,
    sources: list[FeatureView | FeatureViewProjection | RequestSource],
    feature: str,
    function: Any,
    description: str,
    tags: dict[str, str],
) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name=name,
        sources=sources,
        # Not described: Feast compares it with what it infers, which has no description.
        schema=[Field(name=feature, dtype=Float64)],
        udf=function,
        udf_string=inspect.getsource(function),
        mode="python",
        description=description,
        tags={"read": "at request time", **tags},
        owner=OWNER,
    )
