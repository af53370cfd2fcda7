"""What users do, one row per event: the door by which events come in through Feast."""

from __future__ import annotations

from feast import FeatureView, Field, FileSource, PushSource
from feast.types import Float64, Int32, String

from feature_repo.choices import Choices
from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER
from feature_repo.stream.landing import FOLDER
from feature_repo.stream.rules import TAG

PUSH_SOURCE = "user_events"
"""What `store.push` and `/push` name."""


def user_event(location: str, choices: Choices) -> FeatureView:
    """Return the view that events are pushed to.

    Its rows are in no online store: what is pushed online becomes part of `user_sequence`
    (`feature_repo.feast_online_store`), and lands where the batch source reads it.

    Args:
        location: of the project's snapshots (`Profile.offline_location`).
        choices: hold the rules for events of this deployment.
    """
    landed = FileSource(
        name="user_event_landed",
        path=f"{location}/{FOLDER}/*.parquet",
        timestamp_field="time",
        description="Events as they landed; one that was delivered again may be there twice.",
        owner=OWNER,
    )
    return FeatureView(
        name="user_event",
        entities=[USER],
        ttl=FOREVER,
        online=False,
        schema=[
            Field(name="event_id", dtype=String, description="By which a redelivery is told."),
            Field(name="item_id", dtype=String, description="May precede its catalogue."),
            Field(name="event", dtype=String, description="Event type."),
            Field(name="value", dtype=Float64, description="Rating, quantity; null where none."),
            Field(name="surface", dtype=String, description="Where it happened, if known."),
            Field(name="position", dtype=Int32, description="Of the item there, from 0."),
            Field(name="propensity", dtype=Float64, description="Of showing it there."),
        ],
        source=PushSource(
            name=PUSH_SOURCE,
            batch_source=landed,
            description="Events as they happen; `time` is ISO 8601 with a zone.",
            owner=OWNER,
        ),
        description="Everything that users do, as it arrives.",
        tags={"personal_data": "yes", **({TAG: choices.rules} if choices.rules else {})},
        owner=OWNER,
    )
