"""What Argo Events does with our sensors, against the receiver itself.

Values, filters and pauses follow Argo Events 1.9 (pkg/sensors: triggers/params.go,
dependencies/filter.go, listener.go; retries as apimachinery's wait.ExponentialBackoff).
"""

from __future__ import annotations

import json
import re

import boto3
import pytest
from fastapi.testclient import TestClient
from rendered import OVERLAYS, of_kind

from pipelines.triggers.book import Book
from pipelines.triggers.cause import Kind
from pipelines.triggers.door import make_app
from pipelines.triggers.guard import Guard
from pipelines.triggers.signals import look
from recommender.config import parse

pytestmark = pytest.mark.may_skip
TOKEN = "t" * 32
MISSING = object()


def triggers(environment):
    for sensor in of_kind(environment, "Sensor"):
        dependencies = {each["name"]: each for each in sensor["spec"]["dependencies"]}
        for trigger in sensor["spec"]["triggers"]:
            (name,) = {each["src"]["dependencyName"] for each in payload_of(trigger)}
            yield trigger, dependencies[name]


def payload_of(trigger):
    return trigger["template"]["http"]["payload"]


def found_at(tree, path):
    for part in path.split("."):
        try:
            tree = tree[int(part) if isinstance(tree, list) else part]
        except (KeyError, IndexError, TypeError, ValueError):
            return MISSING
    return tree


def passes(dependency, event):
    """Tell whether an event passes the data filters; one without the path is discarded."""
    for each in dependency.get("filters", {}).get("data", []):
        value = found_at(event["data"], each["path"])
        assert each["type"] == "string", "other types are not followed here"
        if value is MISSING or not any(re.search(one, str(value)) for one in each["value"]):
            return False
    return True


def sent(trigger, event):
    """Return the body that the sensor makes, or None where it can't make one and tries again."""
    body = {}
    for each in payload_of(trigger):
        src, value = each["src"], MISSING
        for key, tree in (("contextKey", event["context"]), ("dataKey", event["data"])):
            if key in src:
                value = found_at(tree, src[key])
        if value is MISSING:
            value = src.get("value", MISSING)
        if value is MISSING:
            return None
        raw = isinstance(value, str) or src.get("useRawData")
        *path, last = each["dest"].split(".")
        place = body
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value if raw else json.dumps(value)
    return body


def event_of(data):
    return {"context": {"id": "7f", "source": "asks", "type": "webhook"}, "data": data}


def record(bucket, key):
    thing = {"key": key, "sequencer": "A1"}
    happened = {"eventName": "ObjectCreated:Put", "eventSource": "aws:s3"}
    return {**happened, "s3": {"bucket": {"name": bucket}, "object": thing}}


def landed(bucket, key):
    """Return what both event sources of the lake would hand on."""
    one = record(bucket, key)
    return event_of({"notification": [one], "body": {"Records": [one]}})


@pytest.fixture
def door(tmp_path, s3_bucket):
    boto3.client("s3").put_object(Bucket=s3_bucket, Key="raw/events/1.csv", Body=b"u,i,t\n")
    config = parse(
        {
            "name": "shop",
            "workspace": str(tmp_path),
            "source": {
                "kind": "mapped",
                "events": {
                    "location": f"s3://{s3_bucket}/raw/events",
                    "columns": {"user": "u", "item": "i", "time": "t"},
                    "types": {"rules": [{"event": "click"}]},
                },
                "items": {"columns": {"item": "i"}},
            },
            "actions": {"types": ["click"], "success": ["click"]},
        },
        "test",
    )
    book = Book(tmp_path / "book.db")
    guard = Guard(TOKEN, None, 300, 1000)
    app = make_app(book, guard, 65536, lambda causes: look(causes, config))
    client = TestClient(app, headers={"authorization": f"Bearer {TOKEN}"})
    client.bucket, client.book = s3_bucket, book
    return client


def named(environment, name):
    (found,) = [each for each in triggers(environment) if each[0]["template"]["name"] == name]
    return found


@pytest.mark.parametrize("environment", OVERLAYS)
def test_what_sensors_send_is_what_the_receiver_takes(environment, door):
    events = {
        "ask": event_of({"body": {"why": "a sale"}}),
        "nightly": event_of({"eventTime": "2026-01-01T02:30:00Z"}),
        "landed": landed(door.bucket, "raw/events/1.csv"),
    }
    for name, event in events.items():
        trigger, dependency = named(environment, name)
        assert passes(dependency, event)
        answer = door.post("/events", json=sent(trigger, event))
        assert (answer.status_code, answer.json()["received"]) == (202, 1)
        kind = door.book.waiting()[-1].kind
        assert kind is (Kind.LANDED if name == "landed" else Kind.ASKED)
    assert {name for name, _ in events.items()} == {
        trigger["template"]["name"] for trigger, _ in triggers(environment)
    }


@pytest.mark.parametrize("environment", OVERLAYS)
def test_whoever_asks_without_saying_why_is_heard(environment, door):
    trigger, _ = named(environment, "ask")
    for body in ({}, {"why": "x" * 900}, {"why": {"a": "sale"}}):
        event = event_of({"body": body})
        assert door.post("/events", json=sent(trigger, event)).status_code == 202


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_the_event_by_which_s3_tries_a_queue_is_left_out(environment, door):
    told = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": door.bucket}
    trigger, dependency = named(environment, "landed")
    assert not passes(dependency, event_of({"messageId": "1", "body": told}))
    # Without the filter no body could be made of it, time and again.
    assert sent(trigger, event_of({"messageId": "1", "body": told})) is None


@pytest.mark.parametrize("environment", OVERLAYS)
def test_what_will_never_be_taken_holds_up_nothing_and_everything_else_is_sent_again(
    environment, door
):
    elsewhere = landed(door.bucket, "raw/users/1.csv")
    trigger, _ = named(environment, "landed")
    answer = door.post("/events", json=sent(trigger, elsewhere))
    assert answer.status_code == 422
    for trigger, _ in triggers(environment):
        assert trigger["atLeastOnce"]
        assert set(trigger["policy"]["status"]["allow"]) == {202, 400, 413, 422}


@pytest.mark.parametrize("environment", OVERLAYS)
def test_a_receiver_that_is_away_for_two_hours_misses_nothing(environment):
    for trigger, _ in triggers(environment):
        retry = trigger["retryStrategy"]
        pause = float(re.fullmatch(r"(\d+)s", retry["duration"])[1])
        pauses = [pause * retry["factor"] ** number for number in range(retry["steps"] - 1)]
        assert sum(pauses) >= 2 * 3600
        assert max(pauses) <= 60  # back again, it is not left waiting
        assert retry["jitter"] > 0
        # Long enough to list a source of some hundred thousand files.
        assert trigger["template"]["http"]["timeout"] >= 60
