"""The feature views, one file each: what is known of a user and of an item."""

from __future__ import annotations

from pathlib import Path

from feast import FeatureView

from feature_repo.views.item_attributes import item_attributes
from feature_repo.views.item_text import item_text
from feature_repo.views.user_profile import user_profile
from feature_repo.views.user_sequence import user_sequence


def views(folder: Path) -> dict[str, FeatureView]:
    """Return every view by its name.

    Args:
        folder: of the project's snapshots, absolute.
    """
    made = (user_sequence, user_profile, item_text, item_attributes)
    return {view.name: view for view in (make(folder) for make in made)}
