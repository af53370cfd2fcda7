"""The feature views, one file each: what is known of a user and of an item."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView

from feature_repo.choices import Choices
from feature_repo.views.item_attributes import item_attributes
from feature_repo.views.item_text import item_text
from feature_repo.views.user_behaviour import user_behaviour
from feature_repo.views.user_profile import user_profile
from feature_repo.views.user_sequence import user_sequence

_NONE = Choices()


def views(folder: Path, choices: Choices = _NONE) -> dict[str, FeatureView]:
    """Return every view by its name.

    Args:
        folder: of the project's snapshots, absolute.
        choices: what this deployment has besides.
    """
    made = [
        user_sequence(folder),
        user_profile(folder),
        item_text(folder, choices),
        item_attributes(folder),
        *([user_behaviour(folder)] if choices.behaviour else []),
    ]
    return {view.name: view for view in made}
