"""CloudEvents of every mode become the same fields."""

from __future__ import annotations

import json

import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from streamed_shop import NOW, given

from feature_repo.stream.cloud_events import BATCH, read_cloud_events
from feature_repo.stream.event import RejectedEventError

ATTRIBUTES = {"type": "shop.click", "source": "/shop", "id": "c1", "time": "2023-01-02T03:04:05Z"}


def envelope(data, **attributes):
    return CloudEvent({**ATTRIBUTES, **attributes}, data)


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("mode", [to_binary, to_structured])
def test_the_data_holds_the_fields(mode):
    headers, body = mode(envelope(given("é1")))
    assert read_cloud_events(lower(headers), body) == [given("é1")]


@pytest.mark.parametrize("mode", [to_binary, to_structured])
def test_id_and_time_of_the_envelope_stand_in(mode):
    data = {"user_id": "u1", "item_id": "a", "event": "click"}
    headers, body = mode(envelope(data))
    assert read_cloud_events(lower(headers), body) == [
        {**data, "event_id": "c1", "time": "2023-01-02T03:04:05Z"}
    ]


@pytest.mark.parametrize("mode", [to_binary, to_structured])
def test_no_time_is_made_up(mode):
    headers, body = mode(envelope({"user_id": "u1"}))
    headers = {name: value for name, value in lower(headers).items() if name != "ce-time"}
    body = body.replace(b'"time": "2023-01-02T03:04:05Z"', b'"other": "x"')
    assert "time" not in read_cloud_events(headers, body)[0]


def test_a_batch_holds_many():
    bodies = [json.loads(to_structured(envelope(given(f"e{n}")))[1]) for n in range(3)]
    headers = {"content-type": f"{BATCH}; charset=utf-8"}
    assert read_cloud_events(headers, json.dumps(bodies).encode()) == [
        given(f"e{n}") for n in range(3)
    ]
    assert read_cloud_events(headers, b"[]") == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"{}"),
        ({}, b"[1]"),
        ({}, b"\xff\xfe"),
        ({"content-type": BATCH}, b"{}"),
        ({"content-type": BATCH}, b"nothing"),
        ({"content-type": BATCH}, b"[1]"),
        ({"content-type": BATCH}, b'[{"specversion": "1.0"}]'),
        ({"content-type": BATCH}, b"[" * 100_000),
        ({"content-type": "application/cloudevents+json"}, b"[" * 100_000),
        ({}, b'{"specversion": "7.0", "id": "1", "source": "s", "type": "t"}'),
        ({}, b'{"specversion": "1.0", "source": "s", "type": "t"}'),
        ({}, b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}'),
        ({}, b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": "text"}'),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}, b"no json"),
        ({"ce-specversion": "1.0", "ce-id": "1", "ce-type": "t"}, json.dumps(given()).encode()),
    ],
)
def test_what_is_no_cloud_event_is_rejected(headers, body):
    with pytest.raises(RejectedEventError) as told:
        read_cloud_events(headers, body)
    assert told.value.field in ("body", "cloudevent", "data")
    assert len(told.value.message) < 500


def test_times_as_numbers_stay_numbers():
    headers, body = to_structured(envelope(given(time=NOW)))
    assert read_cloud_events(lower(headers), body)[0]["time"] == NOW
