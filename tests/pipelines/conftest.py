"""A small workspace with a trace of everybody in every place."""

from __future__ import annotations

import shutil
from pathlib import Path

import forget_world
import pytest
from forget_world import World


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    return forget_world.build(tmp_path_factory.mktemp("built") / "w")


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    """A copy, because forgetting can't be undone."""
    shutil.copytree(built.root, tmp_path / "w")
    config = built.config.model_copy(update={"workspace": str(tmp_path / "w")})
    return World(config, built.version, built.tables, built.model)
