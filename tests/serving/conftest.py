"""Workspaces whose processes are stopped whatever happens, and arms to route to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shop import Shop, open_shop
from upstreams import Upstream

from recommender.workspace import Workspace
from serving import processes


@pytest.fixture(autouse=True)
def no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTINATO_SIGNING_KEY", raising=False)
    monkeypatch.delenv("OSTINATO_PUBLIC_KEY", raising=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    paths = Workspace(tmp_path_factory.mktemp("workspace"))
    yield paths
    processes.stop_all(paths)


@pytest.fixture
def upstream() -> Iterator[Callable[[str], Upstream]]:
    started: list[Upstream] = []

    def start(version: str) -> Upstream:
        started.append(Upstream(version))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def routes_json(tmp_path: Path) -> Path:
    return tmp_path / "routes.json"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One shop for all tests that serve; every process of it is stopped at the end."""
    opened = open_shop(tmp_path_factory.mktemp("shop"))
    yield opened
    processes.stop_all(opened.config.paths)
