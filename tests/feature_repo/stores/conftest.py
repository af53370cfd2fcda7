"""Both online stores, real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from feature_repo.stores.online_store import OnlineStore
from feature_repo.stores.redis import RedisStore
from feature_repo.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs_redis)])
def open_project(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], OnlineStore]:
    """Open a project of one store, as often as wanted."""
    if request.param == "sqlite":
        return lambda project: SqliteStore(tmp_path / "online.db", project)
    server = request.getfixturevalue("redis_server")
    return lambda project: RedisStore(server.connection, project)


@pytest.fixture
def store(open_project: Callable[[str], OnlineStore]):
    opened = open_project("shop")
    yield opened
    opened.close()
