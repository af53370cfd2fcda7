"""Whether the features that a model server is about to read are fresh enough to be served."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from feature_repo.freshness import now_ms, place_of, read
from feature_repo.locations import project_name
from recommender.config import Config
from recommender.config.freshness import FreshnessConfig
from recommender.errors import ConfigError, UserError
from recommender.features.freshness import must_be_fresh, too_old
from recommender.workspace import Workspace

SERVED_FROM = ("user_sequence",)
"""Views that a model server reads when it is asked."""

logger = logging.getLogger(__name__)


def limits_of(config: Config, project: str) -> FreshnessConfig:
    """Return the limits that hold for a project: none for a rehearsal's, which is of the past."""
    if project == project_name(config, "live"):
        return config.features.freshness
    return FreshnessConfig()


def limits_from_json(text: str) -> FreshnessConfig:
    """Read limits as a server is given them on its command line.

    Raises:
        ConfigError: they aren't `features.freshness` as JSON.
    """
    try:
        return FreshnessConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "--freshness"
        raise ConfigError(
            f"--freshness is wrong: {where}: {first['msg']}",
            "write the section features.freshness of the configuration as JSON",
        ) from None


def require_fresh(paths: Workspace, project: str, limits: FreshnessConfig) -> None:
    """Refuse to serve from features that are too old.

    A store that does not answer stops nobody: histories are left out of the answers then, and
    said to be, until it is back.

    Args:
        paths: the workspace.
        project: Feast project.
        limits: of the configuration.

    Raises:
        FeatureError: a view is older than its limit, or has a limit and no record.
        StorageError: the record is damaged.
    """
    if not limits.limited:
        return
    try:
        found = read(place_of(paths, project))
    except UserError as error:
        if not error.passing:
            raise
        logger.warning("%s; nobody knows how fresh the features are", error.message)
        return
    must_be_fresh(
        found,
        SERVED_FROM,
        limits,
        now_ms(),
        what=f"the features of {project}",
        remedy="publish newer ones (`ostinato run`), or see why the stream has stopped; what is "
        "served already stays. To serve them all the same, raise the limit",
    )


def is_stale(paths: Workspace, project: str, limits: FreshnessConfig) -> bool:
    """Tell whether features are too old to be served, or nobody knows.

    Raises:
        StorageError, FeatureError: the records can't be read.
    """
    if not limits.limited:
        return False
    return bool(too_old(read(place_of(paths, project)), SERVED_FROM, limits, now_ms()))
