"""Shops whose servers are stopped whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rollout_shop import Shop, open_shop

from serving import processes


@pytest.fixture(scope="module")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Shop]]:
    """Return a function that opens a shop; all servers are stopped at the end."""
    opened: list[Shop] = []

    def make(**rollout: Any) -> Shop:
        opened.append(open_shop(tmp_path_factory.mktemp("shop"), **rollout))
        return opened[-1]

    yield make
    for shop in opened:
        processes.stop_all(shop.config.paths)
