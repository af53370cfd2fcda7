"""Workspaces with real Feast stores; text vectors are encoded once for all of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres_server as postgres_program
import pytest
import redis_server as redis_program
from tables_by_hand import configuration

from recommender.config import Config


@pytest.fixture(scope="session")
def make_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Config]:
    """Make a configuration with a new workspace, all of which share one text cache."""
    cache = tmp_path_factory.mktemp("text-cache")

    def make(**sections: Any) -> Config:
        workspace = tmp_path_factory.mktemp("workspace")
        (workspace / "cache").symlink_to(cache)
        return configuration(workspace, **sections)

    return make


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    return make_config()


def sdk_rows(config: Config, project: str, view: str, key: str, ids: list[str]) -> list[Any]:
    """Read rows of a view with the Feast SDK, the way its users do."""
    from feature_repo.sdk import open_store, speaking_plainly

    store = open_store(config.paths, project)
    with speaking_plainly(config.paths):
        names = [field.name for field in store.get_feature_view(view).features]
        columns = store.get_online_features(
            features=[f"{view}:{name}" for name in names],
            entity_rows=[{key: each} for each in ids],
        ).to_dict()
    return [{name: columns[name][row] for name in names} for row in range(len(ids))]


@pytest.fixture
def read_with_sdk() -> Callable[..., list[Any]]:
    return sdk_rows


@pytest.fixture(scope="session")
def redis_process() -> Iterator[redis_program.RedisServer]:
    """One Redis for all tests of a worker; ask for `redis_server` to find it empty."""
    if not redis_program.program():
        pytest.skip("no redis-server program; install Debian's package redis-server")
    with redis_program.running() as server:
        yield server


@pytest.fixture
def redis_server(redis_process: redis_program.RedisServer) -> redis_program.RedisServer:
    """A real, empty Redis (`connection`, `client()`); mark the test `needs_redis`."""
    redis_process.client().flushall()
    return redis_process


@pytest.fixture
def production(
    redis_server: redis_program.RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> redis_program.RedisServer:
    """The production profile in the environment: Redis, a registry and snapshots in files."""
    monkeypatch.setenv("OSTINATO_PROFILE", "production")
    monkeypatch.setenv("OSTINATO_REDIS", redis_server.connection)
    monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
    monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
    return redis_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_program.Postgres]:
    """One PostgreSQL for all tests of a worker; mark the test `needs_postgres`."""
    if not postgres_program.programs() or postgres_program.account() == "":
        pytest.skip(
            "no PostgreSQL that can be started; install Debian's package postgresql (as root its "
            "account `postgres` runs it)"
        )
    with postgres_program.postgres_server() as server:
        yield server
