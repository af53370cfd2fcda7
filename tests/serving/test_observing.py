"""The settings of what is done around answers, and which answers are logged."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tables_by_hand import configuration

from recommender.config.served_log import ServedLogConfig
from recommender.errors import ConfigError
from recommender.served_store import ServedStore
from recommender.workspace import Workspace
from serving.ask import Ask, Events
from serving.observer import Arrived
from serving.observing import Observing, Watch
from serving.ranking import Answer, Found
from serving.telemetry.logs import FIELDS, JsonLines
from serving.telemetry.metrics import ServingMetrics


def answer(*items: str, fallback: Any = None) -> Answer:
    scores = tuple(float(len(items) - place) for place in range(len(items)))
    tasks = {"click": tuple(0.1 * place for place in range(len(items)))}
    return Answer(items, items, scores, tasks, 1, 0, fallback, "history")


def test_settings_reach_a_server_as_they_are(tmp_path: Path) -> None:
    config = configuration(tmp_path, serving={"exploration": {"epsilon": 0.2}})
    told = Observing.from_json(Observing.of(config).model_dump_json())
    assert told == Observing.of(config)
    assert told.exploration.epsilon == 0.2
    nothing = Observing.from_json("{}")
    assert (nothing.exploration.epsilon, nothing.log.sink, nothing.feedback) == (0, "none", None)
    with pytest.raises(ConfigError, match="--observing is wrong"):
        Observing.from_json('{"exploration": {"epsilon": 2}}')


@pytest.mark.parametrize(
    ("log", "sink", "epsilon"),
    [
        ({}, "none", 0.0),
        ({"location": "/some/folder"}, "none", 0.0),
        ({"location": "s3://bucket/log"}, "parquet", 0.05),
        ({"sink": "http", "url": "http://broker"}, "http", 0.05),
    ],
)
def test_a_pod_logs_where_it_can_write_and_explores_only_what_it_logs(
    tmp_path: Path, log: dict[str, Any], sink: str, epsilon: float
) -> None:
    told = Observing.in_a_pod(configuration(tmp_path, serving={"log": log}))
    assert (told.log.sink, told.exploration.epsilon) == (sink, epsilon)
    assert told.feedback is not None
    assert told.feedback.outbox.startswith("/tmp/")


def test_a_sink_by_http_needs_an_address() -> None:
    with pytest.raises(ValueError, match="sink: http needs a url"):
        ServedLogConfig(sink="http")


def test_only_lists_that_somebody_is_shown_are_logged(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    watch = Watch(
        Observing(log=ServedLogConfig(rotate_s=3600)), Workspace(tmp_path), ServingMetrics(registry)
    )
    observer = watch.of("m-1", "ostinato")
    found = [Found(Events(as_of=0), read_s=0.001)]
    for user, lane, record, items in (
        ("seen", "live", True, ("a", "b")),
        ("rehearsed", "rehearsal", True, ("a",)),
        ("mirrored", "shadow", True, ("a",)),
        ("looked-at", "live", False, ("a",)),
        ("nothing", "live", True, ()),
    ):
        asks = [Ask(user_id=user, record=record)]
        arrived = Arrived(lane, 0.0)
        assert observer.widened(asks, arrived) == asks
        shown, ids = observer.finish(asks, found, [answer(*items)], arrived)
        assert shown[0].items == items
        assert len(set(ids)) == 1
    watch.close()
    rows = ServedStore(tmp_path).read("served")
    assert sorted(zip(rows["lane"].to_pylist(), rows["item_id"].to_pylist(), strict=True)) == [
        ("live", "a"),
        ("live", "b"),
        ("rehearsal", "a"),
    ]
    assert rows["propensity"].to_pylist() == [1.0] * 3
    written = registry.get_sample_value("ostinato_served_lists_total", {"outcome": "written"})
    assert written == 2


def test_a_line_of_the_log_is_one_json_object() -> None:
    line = JsonLines()
    try:
        int("no number")
    except ValueError:
        record = logging.LogRecord("x", logging.INFO, "f", 1, "a %s", ("b",), sys.exc_info())
    record.__dict__[FIELDS] = {"user": "aa"}
    text = line.format(record)
    assert "\n" not in text
    told = json.loads(text)
    assert (told["message"], told["user"], told["level"]) == ("a b", "aa", "INFO")
    assert told["time"].endswith("Z")
    assert told["trace"].startswith("Traceback")
    assert "no number" in told["trace"]
