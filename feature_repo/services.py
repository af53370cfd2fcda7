"""The feature services: exactly what one version of a model reads."""

from __future__ import annotations

from feast import FeatureService, FeatureView

from feature_repo.entities import OWNER


def services(views: dict[str, FeatureView]) -> dict[str, FeatureService]:
    """Return every service by its name.

    Args:
        views: as `feature_repo.views.views` returns them.
    """
    made = (
        FeatureService(
            name="unified_v1",
            features=[views["user_sequence"]],
            description="What the unified Transformer, version 1, is asked with: a history.",
            tags={"model": "unified", "version": "1", "read": "at request time"},
            owner=OWNER,
        ),
        FeatureService(
            name="unified_v1_items",
            features=[views["item_text"][["title", "vector", "encoder"]]],
            description="What the unified Transformer, version 1, knows of its catalogue.",
            tags={"model": "unified", "version": "1", "read": "in training"},
            owner=OWNER,
        ),
    )
    return {service.name: service for service in made}
