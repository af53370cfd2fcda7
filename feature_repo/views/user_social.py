"""What those whom a user follows took."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import String

from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER, snapshot


def user_social(location: str) -> FeatureView:
    """Return the view of what those whom a user follows took."""
    return FeatureView(
        name="user_social",
        entities=[USER],
        ttl=FOREVER,
        schema=[
            Field(
                name="followed",
                dtype=String,
                description="A JSON object: `took`, by item how many of those followed took it; "
                "`users`, their pseudonyms.",
            ),
        ],
        source=snapshot("user_social", location),
        description="What those whom a user follows took; only where the source has a follow "
        "graph. Users who follow nobody that took anything have no row.",
        tags={"personal_data": "yes"},
        owner=OWNER,
    )
