"""The feature views: what is known of a user and of an item."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from feast import FeatureView, Field
from feast.types import Array, Float32, Float64, Int64, String

from feature_repo.entities import ITEM, OWNER, USER
from feature_repo.sources import snapshot

FOREVER = timedelta(days=36_525)
"""Snapshots don't expire by the clock: a log may be years old. Feast also needs a number here:
a first `materialize-incremental` starts at now − ttl, and 0 would mean a year ago."""


def user_sequence(folder: Path) -> FeatureView:
    """Return the view of what a user did last; all lists are parallel, oldest event first."""
    return FeatureView(
        name="user_sequence",
        entities=[USER],
        ttl=FOREVER,
        schema=[
            Field(name="item_ids", dtype=Array(String), description="Items, oldest first."),
            Field(name="actions", dtype=Array(String), description="Event types."),
            # Array(UnixTimestamp) would cut them to seconds.
            Field(name="times", dtype=Array(Int64), description="UTC milliseconds."),
            Field(
                name="values",
                dtype=Array(Float32),
                description="What the event carried (rating, quantity); NaN where nothing.",
            ),
            # The online store rounds event timestamps to seconds, in local time.
            Field(
                name="as_of",
                dtype=Int64,
                description="UTC milliseconds; holds the events strictly before it.",
            ),
        ],
        source=snapshot("user_sequence", folder),
        description="A user's most recent events strictly before the snapshot's moment.",
        tags={"model": "unified", "personal_data": "yes"},
        owner=OWNER,
    )


def user_profile(folder: Path) -> FeatureView:
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
        source=snapshot("user_profile", folder),
        description="Who a user is; the attributes differ from source to source.",
        tags={"personal_data": "yes"},
        owner=OWNER,
    )


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


def item_attributes(folder: Path) -> FeatureView:
    """Return the view of an item's plain attributes."""
    return FeatureView(
        name="item_attributes",
        entities=[ITEM],
        ttl=FOREVER,
        schema=[
            Field(name="categories", dtype=Array(String), description="Most general first."),
            Field(name="brand", dtype=String, description="Null where unknown."),
            Field(name="price", dtype=Float64, description="Null or NaN where unknown."),
        ],
        source=snapshot("item_attributes", folder),
        description="An item's plain attributes.",
        tags={"personal_data": "no"},
        owner=OWNER,
    )


def views(folder: Path) -> dict[str, FeatureView]:
    """Return every view by its name.

    Args:
        folder: of the project's snapshots, absolute.
    """
    made = (user_sequence, user_profile, item_text, item_attributes)
    return {view.name: view for view in (make(folder) for make in made)}
