"""A small shop whose events are streamed into real stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamed_shop import KINDS

from feature_repo.stores.sqlite import SqliteStore
from feature_repo.stream.apply import EventSink
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules


@pytest.fixture
def rules() -> EventRules:
    return EventRules(("impression", "click", "purchase"), ("click", "purchase"), limit=5)


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "online.db", "shop")
    opened.declare("user_sequence", "user_id", KINDS)
    yield opened
    opened.close()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "offline"))


@pytest.fixture
def sink(store, landing, rules) -> EventSink:
    return EventSink(store, landing, rules)
