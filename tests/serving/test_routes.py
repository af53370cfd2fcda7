"""Routes survive a round trip; wrong ones are refused before they are written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recommender.errors import ServingError
from serving import routes
from serving.routes import LIVE, REHEARSAL, Arm, Routes


def test_routes_come_back_as_they_were_written(routes_json: Path) -> None:
    written = Routes(salt="s").with_lane(LIVE, [Arm("http://a:1", "m-1")])
    written = written.with_lane(
        REHEARSAL, [Arm("http://a:1", "m-1", 95), Arm("http://b:2", "m-2", 5)]
    )
    routes.write(routes_json, written)
    assert routes.read(routes_json) == written
    assert set(json.loads(routes_json.read_text())["lanes"]) == {"live", "rehearsal"}


def test_no_file_means_that_nothing_is_served(routes_json: Path) -> None:
    assert routes.read(routes_json) == Routes()


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([("http://a:1", "m-1", 0.0)], "no arm of lane 'live' has a weight"),
        ([("http://a:1", "m-1", 1.0), ("http://b:1", "m-1", 1.0)], "names a version twice"),
        ([("http://a:1", "m-1", -1.0)], "is not a share"),
        ([("http://a:1", "m-1", float("nan"))], "is not a share"),
        ([("a:1", "m-1", 1.0)], "not the base URL"),
        ([("http://a:1/", "m-1", 1.0)], "not the base URL"),
    ],
)
def test_wrong_arms_are_refused(arms: list[tuple[str, str, float]], message: str) -> None:
    with pytest.raises(ServingError, match=message):
        Routes().with_lane(LIVE, [Arm(*arm) for arm in arms])


def test_an_unknown_lane_is_refused() -> None:
    with pytest.raises(ServingError, match="there is no lane 'canary'"):
        Routes().with_lane("canary", [])


@pytest.mark.parametrize(
    "content", ["", "[]", '{"lanes": 3}', '{"lanes": {"live": [{"url": "http://a:1"}]}}', "{}"]
)
def test_a_damaged_file_is_named(routes_json: Path, content: str) -> None:
    routes_json.write_text(content)
    with pytest.raises(ServingError, match=r"routes\.json holds no valid routes"):
        routes.read(routes_json)
