"""A small shop whose events are streamed into real stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamed_shop import KINDS, open_store

from feature_repo.stream.apply import EventSink
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules


@pytest.fixture
def rules() -> EventRules:
    return EventRules(("impression", "click", "purchase"), ("click", "purchase"), limit=5)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.needs_redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "online.db")
    return request.getfixturevalue("redis_server").connection


@pytest.fixture
def store(place: str):
    opened = open_store(place)
    opened.declare("user_sequence", "user_id", KINDS)
    yield opened
    opened.close()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(str(tmp_path / "offline"))


@pytest.fixture
def sink(store, landing, rules) -> EventSink:
    return EventSink(store, landing, rules)
