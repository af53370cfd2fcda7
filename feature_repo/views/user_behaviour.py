"""What a user did last, as a sentence and its vector."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Array, Float32, Int64, String

from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER, snapshot


def user_behaviour(location: str) -> FeatureView:
    """Return the view of what a user did last, in words and as the main encoder's vector."""
    return FeatureView(
        name="user_behaviour",
        entities=[USER],
        ttl=FOREVER,
        schema=[
            Field(
                name="as_of",
                dtype=Int64,
                description="UTC milliseconds; tells of the events strictly before it.",
            ),
            Field(
                name="sentence",
                dtype=String,
                description="Actions and titles, the latest first; how long ago, coarsely.",
            ),
            Field(name="vector", dtype=Array(Float32), description="Of length 1."),
            Field(name="encoder", dtype=String, description="name@revision."),
            Field(name="content_hash", dtype=String, description="SHA-256 of the sentence."),
        ],
        source=snapshot("user_behaviour", location),
        description="A user's most recent events strictly before a moment, told in a sentence "
        "and encoded like item text.",
        tags={"personal_data": "yes"},
        owner=OWNER,
    )
