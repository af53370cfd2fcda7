"""A fresh cluster for every test; the server takes milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_kubernetes import FakeKubernetes
from kserve_world import KServeWorld


@pytest.fixture(params=["Standard", "Knative"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KServeWorld]:
    """Return a cluster in each mode, with a champion that everybody gets."""
    with FakeKubernetes(mode=request.param) as api:
        world = KServeWorld(api, tmp_path)
        world.serve()
        yield world


@pytest.fixture
def standard(tmp_path: Path) -> Iterator[KServeWorld]:
    """Return a cluster in Standard mode, with a champion that everybody gets."""
    with FakeKubernetes() as api:
        world = KServeWorld(api, tmp_path)
        world.serve()
        yield world
