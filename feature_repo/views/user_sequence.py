"""What a user did last."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Array, Float32, Int64, String

from feature_repo.choices import Choices
from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER, snapshot
from feature_repo.stream.rules import EventRules

_NONE = Choices()


def user_sequence(location: str, choices: Choices = _NONE) -> FeatureView:
    """Return the view of what a user did last; all lists are parallel, oldest event first.

    Args:
        location: of the project's snapshots.
        choices: their rules say whether surfaces are told apart: a list more.
    """
    rules = choices.rules
    surfaces = Field(
        name="surfaces",
        dtype=Array(String),
        description="Where the events happened; empty where it isn't told apart from others.",
    )
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
            Field(
                name="event_ids",
                dtype=Array(String),
                description="By which a redelivered event is recognised.",
            ),
            Field(
                name="arrivals",
                dtype=Array(Int64),
                description="When the stream brought the event, UTC milliseconds; 0: a batch did.",
            ),
            # The online store rounds event timestamps to seconds, in local time.
            Field(
                name="as_of",
                dtype=Int64,
                description="UTC milliseconds; holds the events strictly before it.",
            ),
            *([surfaces] if rules and EventRules.from_text(rules).surfaces else []),
        ],
        source=snapshot("user_sequence", location),
        description="A user's most recent events strictly before the snapshot's moment, and "
        "what the stream has brought since.",
        tags={"model": "unified", "personal_data": "yes"},
        owner=OWNER,
    )
