"""One served list, or one request that failed: as a record, as rows of a table, as a CloudEvent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from recommender.served import FAILED, SERVED

SERVED_TYPE = "io.ostinato.served.v1"
"""The CloudEvents type of a served list."""

FAILED_TYPE = "io.ostinato.failed.v1"
"""The CloudEvents type of a request that was not answered."""

SOURCE = "/ostinato/"
"""What the `source` of our CloudEvents begins with; the model's version follows."""


@dataclass(frozen=True, slots=True)
class ServedList:
    """A list as it was shown; columns are in the order of the places.

    Attributes:
        request_id: of the answer.
        time: of the answer, UTC milliseconds.
        user: pseudonym of whoever asked; "" for an anonymous visit.
        version: of the model.
        lane: of the router.
        surface: where it is shown, as the caller says.
        items: item ids.
        scores: of these.
        propensities: of each given those above it.
        marginals: of each at its place whatever the others hold.
        policy: that filled the places.
        fallback: why the answer was made without a history, or None.
        latency_ms: from the request to the answer.
    """

    request_id: str
    time: int
    user: str
    version: str
    lane: str
    surface: str | None
    items: Sequence[str]
    scores: Sequence[float]
    propensities: Sequence[float]
    marginals: Sequence[float]
    policy: str
    fallback: str | None
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered, and not for what was asked.

    Attributes:
        request_id: made for it.
        time: when it failed, UTC milliseconds.
        user: pseudonym of whoever asked; "" for an anonymous visit.
        version: of the model.
        lane: of the router.
        error: kind of the error.
        latency_ms: from the request to the failure.
    """

    request_id: str
    time: int
    user: str
    version: str
    lane: str
    error: str
    latency_ms: float


def failed_table(failures: Sequence[Failure]) -> pa.Table:
    """Return failed requests as rows."""
    return pa.table(
        [
            pa.array([getattr(one, f.name) for one in failures], pa.int64()).cast(f.type)
            if f.name == "time"
            else pa.array([getattr(one, f.name) for one in failures], f.type)
            for f in FAILED
        ],
        schema=FAILED,
    )


def failed_event(one: Failure) -> dict[str, Any]:
    """Return a failed request as a CloudEvent 1.0 in structured JSON."""
    names = ("request_id", "user", "version", "lane", "error", "latency_ms")
    data = {name: getattr(one, name) for name in names}
    return enveloped(FAILED_TYPE, one.request_id, one.version, one.time, data)


def table(lists: Iterable[ServedList]) -> pa.Table:
    """Return served lists as rows, one per shown item."""
    columns: dict[str, list[Any]] = {name: [] for name in SERVED.names}
    for one in lists:
        count = len(one.items)
        shared = {
            "request_id": one.request_id,
            "time": one.time,
            "user": one.user,
            "version": one.version,
            "lane": one.lane,
            "surface": one.surface,
            "policy": one.policy,
            "fallback": one.fallback,
            "latency_ms": one.latency_ms,
        }
        for name, value in shared.items():
            columns[name] += [value] * count
        columns["position"] += range(1, count + 1)
        columns["item_id"] += one.items
        columns["score"] += one.scores
        columns["propensity"] += one.propensities
        columns["marginal"] += one.marginals
    return pa.table(
        [
            pa.array(columns[f.name], pa.int64()).cast(f.type)
            if f.name == "time"
            else pa.array(columns[f.name], f.type)
            for f in SERVED
        ],
        schema=SERVED,
    )


def cloud_event(one: ServedList) -> dict[str, Any]:
    """Return a served list as a CloudEvent 1.0 in structured JSON.

    Its `id` is the request's, so whoever gets it twice can tell.
    """
    items = [
        {"item_id": item, "position": place, "score": score, "propensity": chance, "marginal": any_}
        for place, (item, score, chance, any_) in enumerate(
            zip(one.items, one.scores, one.propensities, one.marginals, strict=True), 1
        )
    ]
    data = {
        "request_id": one.request_id,
        "user": one.user,
        "version": one.version,
        "lane": one.lane,
        "surface": one.surface,
        "policy": one.policy,
        "fallback": one.fallback,
        "latency_ms": one.latency_ms,
        "items": items,
    }
    return enveloped(SERVED_TYPE, one.request_id, one.version, one.time, data)


def enveloped(
    kind: str, name: str, version: str, time: int, data: dict[str, Any]
) -> dict[str, Any]:
    """Return a CloudEvent 1.0 in structured JSON.

    Args:
        kind: its type.
        name: its id.
        version: of the model it is about.
        time: UTC milliseconds.
        data: its content, plain JSON values.
    """
    moment = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "specversion": "1.0",
        "type": kind,
        "source": f"{SOURCE}{version}",
        "id": name,
        "time": moment.replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
