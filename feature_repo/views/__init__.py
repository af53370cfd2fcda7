"""The feature views, one file each: what is known of a user and of an item."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView

from feature_repo.choices import Choices
from feature_repo.views.item_attributes import item_attributes
from feature_repo.views.item_text import item_text
from feature_repo.views.item_trend import item_trend
from feature_repo.views.user_activity import user_activity
from feature_repo.views.user_behaviour import user_behaviour
from feature_repo.views.user_event import user_event
from feature_repo.views.user_profile import user_profile
from feature_repo.views.user_sequence import user_sequence
from feature_repo.views.user_social import user_social

_NONE = Choices()


def views(folder: str | Path, choices: Choices = _NONE) -> dict[str, FeatureView]:
    """Return every view by its name.

    Args:
        folder: of the project's snapshots, absolute, or its `s3://` prefix
            (`Profile.offline_location`).
        choices: what this deployment has besides.
    """
    location = str(folder)
    made = [
        user_sequence(location, choices),
        user_profile(location),
        user_activity(location, choices),
        user_event(location, choices),
        item_text(location, choices),
        item_attributes(location),
        item_trend(location),
        *([user_behaviour(location)] if choices.behaviour else []),
        *([user_social(location)] if choices.social else []),
    ]
    return {view.name: view for view in made}
