"""What is said about an item, in words and as vectors."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Array, Float32, String

from feature_repo.choices import Choices
from feature_repo.entities import ITEM, OWNER
from feature_repo.sources import FOREVER, snapshot

_NONE = Choices()


def item_text(location: str, choices: Choices = _NONE) -> FeatureView:
    """Return the view of what is said about an item, in words and as vectors.

    Args:
        location: of the project's snapshots.
        choices: says which encoders there are beside the main one, a pair of columns each.
    """
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
            *(field for slug in choices.encoders for field in _further(slug)),
        ],
        source=snapshot("item_text", location),
        description="What is said about an item, in words and as a text encoder's vector.",
        tags={"model": "unified", "personal_data": "no"},
        owner=OWNER,
    )


def _further(slug: str) -> tuple[Field, Field]:
    return (
        Field(
            name=f"vector_{slug}",
            dtype=Array(Float32),
            description=f"Of the encoder {slug}: of length 1; all zeros where there is no text.",
        ),
        Field(name=f"encoder_{slug}", dtype=String, description=f"name@revision of {slug}."),
    )
