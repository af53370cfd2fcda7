"""The Feast SDK, kept quiet, with its failures turned into messages that say what to do."""

from __future__ import annotations

import contextlib
import io
import logging
import sqlite3
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from feature_repo.choices import Choices
from feature_repo.locations import (
    FEATURES_VARIABLE,
    PROJECT_VARIABLE,
    offline_folder,
    online_db,
    registry_db,
)
from feature_repo.sqlite import check, explained, prepare
from recommender.errors import FeatureError
from recommender.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore

PROFILE = Path(__file__).with_name("feature_store.yaml")
"""The embedded profile; also read by the `feast` program."""

logger = logging.getLogger(__name__)

_NONE = Choices()


def open_store(paths: Workspace, project: str) -> FeatureStore:
    """Open a project with the Feast SDK, as `feature_store.yaml` says.

    Args:
        paths: the workspace.
        project: Feast project (`feature_repo.store.project_name`).

    Raises:
        FeatureError: the registry or the online store is damaged.
    """
    paths.features.mkdir(parents=True, exist_ok=True)
    check(registry_db(paths))
    prepare(online_db(paths))
    with speaking_plainly(paths):
        from feast import FeatureStore, RepoConfig

        given = {PROJECT_VARIABLE: project, FEATURES_VARIABLE: str(paths.features)}
        profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
        return FeatureStore(config=RepoConfig(**_filled_in(profile, given)))


def apply(store: FeatureStore, paths: Workspace, choices: Choices = _NONE) -> None:
    """Register the definitions, as `feast apply` does; a second time changes nothing.

    Views and services that are no longer defined are taken out, with their online rows.

    Args:
        store: an open project.
        paths: the workspace.
        choices: what this deployment has besides.

    Raises:
        FeatureError: the registry can't be written.
    """
    with speaking_plainly(paths):
        from feature_repo.entities import ITEM, USER
        from feature_repo.services import services
        from feature_repo.views import views

        defined = views(offline_folder(paths.features, store.project), choices)
        offered = services(defined)
        gone: list[Any] = [
            *(view for view in store.list_feature_views() if view.name not in defined),
            *(each for each in store.list_feature_services() if each.name not in offered),
        ]
        store.apply(
            [USER, ITEM, *defined.values(), *offered.values()],
            objects_to_delete=gone,
            partial=False,
        )


def materialize(store: FeatureStore, paths: Workspace, as_of_ms: int) -> None:
    """Bring the offline snapshot into the online store, each view in one transaction.

    Args:
        store: an open project whose definitions are applied.
        paths: the workspace.
        as_of_ms: the moment of the snapshot, UTC milliseconds.

    Raises:
        FeatureError: a store can't be read or written.
    """
    from recommender.features.snapshots import VIEWS

    moment = datetime.fromtimestamp(as_of_ms / 1000, UTC).replace(
        microsecond=as_of_ms % 1000 * 1000
    )
    with speaking_plainly(paths):
        store.materialize(start_date=moment, end_date=moment, feature_views=list(VIEWS))


@contextlib.contextmanager
def speaking_plainly(paths: Workspace) -> Iterator[None]:
    """Keep Feast's bars, colours and warnings out of the log; explain what its stores say.

    Raises:
        FeatureError: in place of an error of SQLite, on its own or wrapped by SQLAlchemy.
    """
    said = io.StringIO()
    chatty = logging.getLogger("feast")
    level = chatty.level
    chatty.setLevel(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            warnings.simplefilter("ignore")
            yield
    except sqlite3.Error as error:
        raise explained(online_db(paths), str(error)) from error
    except Exception as error:
        if isinstance(cause := getattr(error, "orig", None), sqlite3.Error):
            raise explained(registry_db(paths), str(cause)) from error
        logger.warning("Feast said before it failed:\n%s", said.getvalue()[-2000:])
        raise
    finally:
        chatty.setLevel(level)


def _filled_in(node: Any, given: dict[str, str]) -> Any:
    """Replace `${NAME}` in every text of a parsed YAML tree."""
    if isinstance(node, dict):
        return {key: _filled_in(value, given) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    try:
        return Template(node).substitute(given)
    except KeyError as error:
        raise FeatureError(f"{PROFILE} names a variable {error} that nobody sets") from None
