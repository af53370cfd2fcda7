"""The Feast SDK, kept quiet, with its failures turned into messages that say what to do."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

from feature_repo.choices import Choices
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE, online_db, registry_db
from feature_repo.profile import REDIS_VARIABLE, Profile, read_profile
from feature_repo.sqlite import check, explained, prepare
from recommender.errors import FeatureError
from recommender.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore

logger = logging.getLogger(__name__)

_NONE = Choices()


def open_store(
    paths: Workspace, project: str, profile: Profile | None = None, *, read_only: bool = False
) -> FeatureStore:
    """Open a project with the Feast SDK, as the profile's YAML file says.

    Args:
        paths: the workspace.
        project: Feast project (`feature_repo.locations.project_name`).
        profile: which stores; by default what the environment says now.
        read_only: for whoever only reads features: the project must have been applied, and an
            embedded registry is opened for reading only.

    Raises:
        ConfigError: the environment names no whole profile.
        FeatureError: a store is damaged or can't be reached; for a reader also: the registry
            doesn't hold this project, or is of another version.
    """
    chosen = read_profile() if profile is None else profile
    _prepare(paths, chosen)
    registry = chosen.registry_of(paths.features, read_only=read_only)
    with speaking_plainly(paths, chosen):
        if read_only:
            registry.check(project)
        else:
            registry.check_before_apply(project)
        from feast import FeatureStore, RepoConfig

        given = {
            PROJECT_VARIABLE: project,
            FEATURES_VARIABLE: str(paths.features),
            **chosen.variables(),
        }
        tree = _filled_in(yaml.safe_load(chosen.definition.read_text(encoding="utf-8")), given)
        tree["registry"]["path"] = registry.url
        return FeatureStore(config=RepoConfig(**tree))


def apply(
    store: FeatureStore,
    paths: Workspace,
    choices: Choices = _NONE,
    profile: Profile | None = None,
) -> None:
    """Register the definitions, as `feast apply` does; a second time changes nothing.

    Views and services that are no longer defined are taken out, with their online rows.

    Args:
        store: an open project.
        paths: the workspace.
        choices: what this deployment has besides.
        profile: which stores; by default what the environment says now.

    Raises:
        FeatureError: the registry can't be written.
    """
    chosen = read_profile() if profile is None else profile
    with speaking_plainly(paths, chosen):
        from feature_repo.definitions import definitions

        location = chosen.offline_location(paths.features, store.project)
        defined = definitions(store.project, location, choices)
        known: tuple[Any, ...] = (
            *store.list_feature_views(),
            *store.list_on_demand_feature_views(),
            *store.list_feature_services(),
        )
        gone: list[Any] = [each for each in known if each.name not in defined]
        store.apply(list(defined.values()), objects_to_delete=gone, partial=False)
    if chosen.embedded:
        # Whoever can write it can make its readers run anything.
        registry_db(paths).chmod(0o600)


def materialize(
    store: FeatureStore,
    paths: Workspace,
    as_of_ms: int,
    views: Iterable[str] | None = None,
    profile: Profile | None = None,
) -> None:
    """Bring the offline snapshot into the online store, each view in one transaction.

    Args:
        store: an open project whose definitions are applied.
        paths: the workspace.
        as_of_ms: the moment of the snapshot, UTC milliseconds.
        views: names of those that are brought; by default those of every snapshot.
        profile: which stores; by default what the environment says now.

    Raises:
        FeatureError: a store can't be read or written.
    """
    from recommender.features.snapshots import VIEWS

    moment = datetime.fromtimestamp(as_of_ms / 1000, UTC).replace(
        microsecond=as_of_ms % 1000 * 1000
    )
    with speaking_plainly(paths, profile):
        known = {view.name for view in store.list_feature_views()}
        wanted = [view for view in VIEWS if view in known] if views is None else list(views)
        store.materialize(start_date=moment, end_date=moment, feature_views=wanted)


@contextlib.contextmanager
def speaking_plainly(paths: Workspace, profile: Profile | None = None) -> Iterator[None]:
    """Keep Feast's bars, colours and warnings out of the log; explain what its stores say.

    Args:
        paths: the workspace.
        profile: which stores; by default what the environment says when something fails.

    Raises:
        FeatureError: in place of an error of SQLite, PostgreSQL or Redis, on its own or wrapped.
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
    except FeatureError:
        raise
    except Exception as error:
        if (explanation := _explanation(error, paths, profile)) is not None:
            raise explanation from error
        logger.warning("Feast said before it failed:\n%s", said.getvalue()[-2000:])
        raise
    finally:
        chatty.setLevel(level)


def _explanation(
    error: Exception, paths: Workspace, profile: Profile | None
) -> FeatureError | None:
    import sqlite3

    if isinstance(error, sqlite3.Error):
        # The registry's errors come wrapped by SQLAlchemy.
        return explained(online_db(paths), str(error))
    if type(error).__module__.startswith("redis."):
        return FeatureError(
            f"the online store (Redis) can't be used: {error}",
            f"see that it runs and can be reached from here, and check {REDIS_VARIABLE}",
        )
    chosen = read_profile() if profile is None else profile
    return chosen.registry_of(paths.features).explanation(error)


def _prepare(paths: Workspace, profile: Profile) -> None:
    """Make sure of the embedded stores: there, whole, and readable while they are written."""
    paths.features.mkdir(parents=True, exist_ok=True)
    if profile.embedded:
        check(registry_db(paths))
        prepare(online_db(paths))


def _filled_in(node: Any, given: dict[str, str]) -> Any:
    """Replace `${NAME}` in every text of a parsed YAML tree."""
    if isinstance(node, dict):
        return {key: _filled_in(value, given) for key, value in node.items()}
    if not isinstance(node, str):
        return node
    try:
        return Template(node).substitute(given)
    except KeyError as error:
        raise FeatureError(f"the profile names a variable {error} that nobody sets") from None
