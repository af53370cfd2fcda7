from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_world import tiny_config, tiny_dataset

from recommender.config import Config
from recommender.features.dataset import Dataset


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world() -> Dataset:
    """A generated shop of 60 visitors and 40 items, with made-up text vectors."""
    return tiny_dataset()


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Config]:
    """Make a configuration with everything tiny, in a workspace of this test."""

    def make(**training) -> Config:
        return tiny_config(tmp_path / "workspace", **training)

    return make
