"""The online store of a project, whichever the profile names."""

from __future__ import annotations

from feature_repo.locations import online_db
from feature_repo.profile import Profile, read_profile
from feature_repo.stores.online_store import OnlineStore
from recommender.workspace import Workspace

_WAIT_S = 5.0


def open_online(
    paths: Workspace, project: str, profile: Profile | None = None, wait_s: float = _WAIT_S
) -> OnlineStore:
    """Return the online store of a project; nothing is connected or opened before it is used.

    Args:
        paths: the workspace; holds the store where the profile is embedded.
        project: Feast project.
        profile: which stores are meant; by default what the environment says now.
        wait_s: longest wait for an answer to a read, where a server answers.

    Raises:
        ConfigError: the environment names no profile.
        FeatureError: the connection string isn't one of a single server.
    """
    chosen = profile or read_profile()
    if chosen.redis is None:
        from feature_repo.stores.sqlite import SqliteStore

        return SqliteStore(online_db(paths), project)
    from feature_repo.stores.redis import RedisStore

    return RedisStore(chosen.redis, project, wait_s)
