"""How active a user is."""

from __future__ import annotations

from feast import FeatureView, Field
from feast.types import Float64, Int64

from feature_repo.choices import Choices
from feature_repo.entities import OWNER, USER
from feature_repo.sources import FOREVER, snapshot
from recommender.features.activity import activity_columns

_SAID = {
    "events": "Events of the history types",
    "distinct": "Different items",
    "active": "Days of the UTC calendar with an event",
    "successes": "Events that count as a success",
}


def user_activity(location: str, choices: Choices) -> FeatureView:
    """Return the view of how active a user is.

    Args:
        location: of the project's snapshots.
        choices: says in which windows events are counted.
    """
    return FeatureView(
        name="user_activity",
        entities=[USER],
        ttl=FOREVER,
        schema=[
            *(
                Field(name=name, dtype=Int64, description=_said(name))
                for name in activity_columns(choices.windows_days)
            ),
            Field(name="last_event_ms", dtype=Int64, description="UTC milliseconds."),
            Field(
                name="days_since_last",
                dtype=Float64,
                description="Before the snapshot's moment; user_recency tells it as of a request.",
            ),
            Field(
                name="as_of",
                dtype=Int64,
                description="UTC milliseconds; counts the events strictly before it.",
            ),
        ],
        source=snapshot("user_activity", location),
        description="How often a user acted in windows before the snapshot's moment, and when "
        "last. Users without an event have no row.",
        tags={"personal_data": "yes"},
        owner=OWNER,
    )


def _said(name: str) -> str:
    kind, *_, window = name.split("_")
    when = "ever" if window == "total" else f"in the last {window[:-1]} × 24 hours"
    return f"{_SAID[kind]}, {when}."
