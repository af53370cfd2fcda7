"""The feature services: exactly what one version of a model reads."""

from __future__ import annotations

from typing import Any

from feast import FeatureService, FeatureView, OnDemandFeatureView

from feature_repo.entities import OWNER
from recommender.feature_services import UNIFIED_V1, UNIFIED_V2


def services(
    views: dict[str, FeatureView], at_request: dict[str, OnDemandFeatureView]
) -> dict[str, FeatureService]:
    """Return every service by its name.

    A model's artifact names the service that it reads (`recommender.artifact.Model`): whatever
    changes what a model reads is a new service beside the old one, which goes when no served
    model names it any more.

    Args:
        views: as `feature_repo.views.views` returns them.
        at_request: as `feature_repo.views.at_request.views_at_request` returns them.
    """
    # What the stream keeps its books with (event_ids, arrivals) is no business of a model.
    history = views["user_sequence"][["item_ids", "actions", "times", "values", "as_of"]]
    # Where events happened is a list only where the data set tells surfaces apart.
    names = ["item_ids", "actions", "times", "values", "as_of"]
    held = {field.name for field in views["user_sequence"].features}
    placed = views["user_sequence"][[*names, *(["surfaces"] if "surfaces" in held else [])]]
    about_users = [views["user_activity"], views["user_profile"], at_request["user_recency"]]
    about_items = [
        views["item_attributes"],
        # Without its as_of: a service can't hold two features of one name.
        views["item_trend"][["level", "slope", "season", "forecast", "method"]],
        at_request["item_relative_price"],
        at_request["item_demand_lift"],
    ]
    made = (
        _service(
            UNIFIED_V1,
            [history],
            "What the unified Transformer, version 1, is asked with: a history.",
            "at request time",
        ),
        _service(
            UNIFIED_V2,
            [placed, views["user_profile"]],
            "What a unified Transformer is asked with that reads who asks, or where: a history, "
            "where its events happened, the user's attributes.",
            "at request time",
        ),
        _service(
            "unified_v1_items",
            [views["item_text"][["title", "vector", "encoder"]]],
            "What the unified Transformer, version 1, knows of its catalogue.",
            "in training",
        ),
        _service(
            "unified_v1_context",
            [*about_users, *about_items],
            "What stands around a question about a user and an item: activity, recency, price and "
            "demand. People and comparisons read it; the unified Transformer, version 1, doesn't.",
            "by people",
        ),
    )
    return {service.name: service for service in made}


def _service(name: str, features: list[Any], description: str, read: str) -> FeatureService:
    return FeatureService(
        name=name,
        features=features,
        description=description,
        tags={"model": "unified", "version": "2" if name == UNIFIED_V2 else "1", "read": read},
        owner=OWNER,
    )
