"""CloudEvents 1.0 over HTTP → the fields of our events: structured, binary and batch mode.

The event's `data` holds the canonical fields. `event_id` defaults to the CloudEvent's `id` and
`time` to its `time`, so that envelopes that carry both need not say them twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from feature_repo.stream.event import RejectedEventError

BATCH = "application/cloudevents-batch+json"


def read_cloud_events(headers: Mapping[str, str], body: bytes) -> list[dict[str, Any]]:
    """Return the fields of every event of one request, not validated yet.

    Args:
        headers: of the request, names in lower case.
        body: of the request.

    Raises:
        RejectedEventError: the request holds no CloudEvents, or data that has no named fields.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != BATCH:
        return [_fields(dict(headers), body)]
    try:
        batch = json.loads(body)
    except (ValueError, RecursionError):
        raise RejectedEventError("body", body[:80], "not JSON") from None
    if not isinstance(batch, list):
        raise RejectedEventError("body", type(batch).__name__, "not a list of CloudEvents")
    structured = {"content-type": "application/cloudevents+json"}
    return [_fields(structured, json.dumps(each).encode()) for each in batch]


def _fields(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    from cloudevents.exceptions import GenericException
    from cloudevents.http import from_http

    try:
        event = from_http(headers, body)
    except (GenericException, ValueError, RecursionError, AttributeError, TypeError) as error:
        # The SDK's own message may repeat the whole body.
        reason = str(error) if len(str(error)) < 200 else type(error).__name__
        raise RejectedEventError("cloudevent", body[:80], f"not a CloudEvent: {reason}") from None
    data = event.data
    if not isinstance(data, Mapping):
        raise RejectedEventError("data", data, "not a JSON object with the fields of an event")
    fields = dict(data)
    fields.setdefault("event_id", event["id"])
    # The SDK makes up a missing time: the moment of this delivery, another one at the next.
    if _tells_time(headers, body):
        fields.setdefault("time", event["time"])
    return fields


def _tells_time(headers: dict[str, str], body: bytes) -> bool:
    if "ce-specversion" in headers:
        return "ce-time" in headers
    envelope = json.loads(body)
    return isinstance(envelope, dict) and envelope.get("time") is not None
