"""Every definition of one project, the same for the `feast` program and for Python."""

from __future__ import annotations

from typing import Any

from feast import Project

from feature_repo.choices import Choices
from feature_repo.entities import ITEM, OWNER, USER
from feature_repo.registry import stamp
from feature_repo.services import services
from feature_repo.views import views
from feature_repo.views.at_request import views_at_request

DESCRIPTION = "User sequences and item text of the Ostinato recommender."


def definitions(project: str, location: str, choices: Choices) -> dict[str, Any]:
    """Return everything that `apply` registers, by name.

    Args:
        project: Feast project.
        location: of its snapshots (`Profile.offline_location`).
        choices: what this deployment has besides.
    """
    stored = views(location, choices)
    at_request = views_at_request(stored)
    return {
        project: Project(
            name=project,
            description=DESCRIPTION,
            # By which a reader knows a registry of another version.
            tags={**stamp(), "personal_data": "yes"},
            owner=OWNER,
        ),
        USER.name: USER,
        ITEM.name: ITEM,
        **stored,
        **at_request,
        **services(stored, at_request),
    }
