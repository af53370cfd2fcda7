"""What is said about an item, in words and as a vector."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView, Field
from feast.types import Array, Float32, String

from feature_repo.entities import ITEM, OWNER
from feature_repo.sources import FOREVER, snapshot


def item_text(folder: Path) -> FeatureView:
    """Return the view of what is said about an item, in words and as a vector."""
    return FeatureView(
        name="item_text",
        entities=[ITEM],
        ttl=FOREVER,
        schema=[
            Field(name="title", dtype=String, description="As in the catalogue."),
            Field(name="text", dtype=String, description="What was encoded."),
            Field(
                name="vector",
                dtype=Array(Float32),
                description="Of length 1; all zeros where there is no text.",
            ),
            Field(name="encoder", dtype=String, description="name@revision."),
            Field(name="content_hash", dtype=String, description="SHA-256 of the text."),
        ],
        source=snapshot("item_text", folder),
        description="What is said about an item, in words and as a text encoder's vector.",
        tags={"model": "unified", "personal_data": "no"},
        owner=OWNER,
    )
