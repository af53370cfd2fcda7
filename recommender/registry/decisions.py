"""What was decided about a version: one record per run, never changed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from recommender.errors import RegistryError
from recommender.registry.lineage import encode, now
from recommender.storage import StorageConflictError, Store


class Status(StrEnum):
    """How a version came out of its gate."""

    PASSED = "passed"
    REJECTED = "rejected"
    INSUFFICIENT = "insufficient"
    UNCHANGED = "unchanged"
    """The champion made again: nothing new to deploy, and no verdict on what serves."""

    BASELINE = "baseline"
    """Not trained and so not judged: what serves before anything has won its place."""

    @property
    def deployable(self) -> bool:
        """Whether a version with this status may ever become champion."""
        return self in (Status.PASSED, Status.BASELINE)


@dataclass(frozen=True)
class Decision:
    """What one run decided about the version it made.

    Attributes:
        run_id: of the pipeline run.
        status: the outcome.
        report: where the report for people lies (relative to the workspace, or a URL).
        detail: the gate's own record: rules, figures, reasons; plain JSON values.
        lineage: that of this run, as plain JSON values. The version's own `lineage.json` is of
            the first run that made these bytes; later ones are kept here.
        decided: UTC, ISO 8601.
    """

    run_id: str
    status: Status
    report: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    decided: str = field(default_factory=now)


def record(store: Store, version: str, decision: Decision) -> None:
    """Write a decision; repeating the same one (a step that was retried) changes nothing.

    Raises:
        RegistryError: this run has decided otherwise before.
    """
    key = f"decisions/{version}/{decision.run_id}.json"
    content = encode({"version": version, **asdict(decision)}, "the decision")
    try:
        store.write_bytes(key, content, if_absent=True)
    except StorageConflictError:
        before = _parse(store.read_bytes(key), key)
        if (before.status, before.detail) != (decision.status, _plain(decision.detail)):
            raise RegistryError(
                f"run {decision.run_id} has recorded {version} as {before.status.value}; "
                f"it can't become {decision.status.value}",
                "decisions are never changed; start a new run",
            ) from None


def read_all(store: Store, version: str) -> tuple[Decision, ...]:
    """Return every decision about a version, the oldest first."""
    entries = store.list(f"decisions/{version}")
    found = [_parse(store.read_bytes(entry.key), entry.key) for entry in entries]
    return tuple(sorted(found, key=lambda decision: (decision.decided, decision.run_id)))


def _plain(value: Any) -> Any:
    """Return what comes back after a trip through JSON: tuples as lists, enums as text."""
    return json.loads(encode(value, "the decision"))


def _parse(data: bytes, key: str) -> Decision:
    try:
        read = json.loads(data)
        read.pop("version")
        decision = Decision(**read)
        return replace(decision, status=Status(decision.status))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(f"{key} in the registry is damaged: {error}") from error
