"""Who a user is."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import String

from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER, snapshot


def user_profile(location: str) -> FeatureView:
    """Return the view of who a user is."""
    return FeatureView(
        name="user_profile",
        entities=[USER],
        ttl=FOREVER,
        schema=[
            Field(
                name="attributes",
                dtype=String,
                description="Whatever the source tells, as a JSON object of texts.",
            ),
        ],
        source=snapshot("user_profile", location),
        description="Who a user is; the attributes differ from source to source.",
        tags={"personal_data": "yes"},
        owner=OWNER,
    )
