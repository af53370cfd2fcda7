"""What the status of an InferenceService says of a change: done, under way, or failed.

KServe copies `status.observedGeneration` from the Deployment or from the Knative service, so it
says nothing about our change. What is read instead can't be older than the change: a canary's own
entry with the very share that was asked for (Standard), a revision that wasn't there before
(Knative).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serving.rollout.kserve.patches import KNATIVE_MOST
from serving.rollout.kserve.situation import Mode, revision_before

# The runtime is created just before; the controller may not have seen it yet.
_MAY_PASS = frozenset({"RuntimeNotRecognized"})


class Progress(StrEnum):
    """How far a change is."""

    READY = "ready"
    PROGRESSING = "progressing"
    FAILED = "failed"


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        progress: how far the change is.
        reason: why it isn't done, for people.
        reported: whether the controller has said what holds the arm up; if not, it is the
            controller that hasn't carried the change out, and no fault of the arm's.
    """

    progress: Progress
    reason: str = ""
    reported: bool = True


_READY = Reading(Progress.READY)


def canary(service: dict[str, Any], mode: Mode, version: str, percent: int) -> Reading:
    """Read whether a canary is ready and has its share.

    Args:
        service: as the API server returns it.
        mode: how it is deployed.
        version: of the canary.
        percent: that was asked for.
    """
    if mode is Mode.KNATIVE:
        return _knative_canary(service, min(percent, KNATIVE_MOST))
    status = service.get("status") or {}
    entry = _entry(status, version)
    if entry is None:
        if failure := _failure(status.get("modelStatus"), of=f"-{version}-predictor"):
            return Reading(Progress.FAILED, failure)
        return _unreported("the controller has not reported on the canary")
    if failure := _failure(entry.get("modelStatus")):
        return Reading(Progress.FAILED, failure)
    condition = _condition(status, "CanaryPredictorReady")
    if not entry.get("ready") or condition.get("status") == "False":
        why = condition.get("message") or condition.get("reason") or "its pods are not ready"
        return Reading(Progress.PROGRESSING, str(why))
    if entry.get("trafficPercent", 0) != percent:
        return _unreported(f"it has {entry.get('trafficPercent', 0)} %, not {percent} %")
    return _READY


def stable(service: dict[str, Any], mode: Mode) -> Reading:
    """Read whether the stable predictor is ready.

    Args:
        service: as the API server returns it.
        mode: how it is deployed.
    """
    status = service.get("status") or {}
    if (
        mode is Mode.KNATIVE
        and service["spec"]["predictor"].get("canaryTrafficPercent") is not None
    ):
        # The conditions are those of the newest revision, which is the canary's.
        rolled_out = _component(status).get("latestRolledoutRevision")
        if rolled_out and _share(status, rolled_out) > 0:
            return _READY
        told = "the revision that was rolled out has no traffic"
        return Reading(Progress.PROGRESSING, told, reported=bool(status))
    condition = _condition(status, "PredictorReady") or _condition(status, "Ready")
    if condition.get("status") == "True":
        return _READY if mode is Mode.STANDARD else _all_on_latest(status)
    if failure := _failure(status.get("modelStatus")):
        return Reading(Progress.FAILED, failure)
    if not condition:
        return _unreported("the controller has not reported on the predictor")
    why = condition.get("message") or condition.get("reason") or "it is not ready"
    return Reading(Progress.PROGRESSING, str(why))


def promoted(service: dict[str, Any], mode: Mode, version: str) -> Reading:
    """Read whether a version that was the canary has become the stable predictor.

    Args:
        service: as the API server returns it.
        mode: how it is deployed.
        version: that was promoted.
    """
    if mode is Mode.STANDARD and _entry(service.get("status") or {}, version):
        return Reading(Progress.PROGRESSING, "the controller still reports it as the canary")
    return stable(service, mode)


def rolled_back(service: dict[str, Any], mode: Mode) -> Reading:
    """Read whether no canary gets anything any more.

    Args:
        service: as the API server returns it.
        mode: how it is deployed.
    """
    status = service.get("status") or {}
    if mode is Mode.STANDARD:
        left = [str(entry.get("name")) for entry in status.get("canaryStatuses") or []]
        told = f"the controller still reports the canary {', '.join(left)}"
        return Reading(Progress.PROGRESSING, told) if left else _READY
    if service["spec"]["predictor"].get("canaryTrafficPercent") is None:
        return _READY  # there was no canary
    created = _component(status).get("latestCreatedRevision")
    share = _share(status, created) if created != revision_before(service) else 0
    told = f"revision {created} still gets {share} %"
    return Reading(Progress.PROGRESSING, told) if share else _READY


def _knative_canary(service: dict[str, Any], percent: int) -> Reading:
    status = service.get("status") or {}
    component = _component(status)
    created = component.get("latestCreatedRevision")
    if not created or created == revision_before(service):
        return _unreported("the controller has not reported on a revision of the canary")
    if failure := _failure(status.get("modelStatus")):
        return Reading(Progress.FAILED, failure)
    if component.get("latestReadyRevision") != created:
        condition = _condition(status, "PredictorReady")
        why = condition.get("message") or condition.get("reason") or "its pods are not ready"
        return Reading(Progress.PROGRESSING, f"revision {created}: {why}")
    latest = _latest(status)
    if latest.get("revisionName") != created:
        return _unreported(f"the route doesn't know revision {created}")
    if component.get("latestRolledoutRevision") == created:
        return _unreported(f"revision {created} has all of the traffic")
    if (latest.get("percent") or 0) != percent:
        return _unreported(f"it has {latest.get('percent') or 0} %, not {percent} %")
    return _READY


def _all_on_latest(status: dict[str, Any]) -> Reading:
    component, latest = _component(status), _latest(status)
    created = component.get("latestCreatedRevision")
    revisions = {
        created,
        component.get("latestReadyRevision"),
        component.get("latestRolledoutRevision"),
        latest.get("revisionName"),
    }
    if revisions == {created} and created and latest.get("percent") == 100:
        return _READY
    return Reading(Progress.PROGRESSING, f"revision {created} is not rolled out yet")


def _unreported(reason: str) -> Reading:
    return Reading(Progress.PROGRESSING, reason, reported=False)


def _failure(model: dict[str, Any] | None, of: str = "") -> str:
    """Return why a model failed for good; "" if it didn't.

    Args:
        model: a `modelStatus`.
        of: part of the name of the revision that the failure must be of.
    """
    transition = (model or {}).get("transitionStatus")
    if transition not in ("BlockedByFailedLoad", "InvalidSpec"):
        return ""
    info = (model or {}).get("lastFailureInfo") or {}
    if info.get("reason") in _MAY_PASS or of not in info.get("modelRevisionName", ""):
        return ""
    parts = [str(info[key]) for key in ("reason", "message") if info.get(key)]
    if info.get("exitCode"):
        parts.append(f"exit code {info['exitCode']}")
    return ": ".join([str(transition), *parts])


def _entry(status: dict[str, Any], version: str) -> dict[str, Any] | None:
    entries: list[dict[str, Any]] = status.get("canaryStatuses") or []
    return next((entry for entry in entries if entry.get("name") == version), None)


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _component(status: dict[str, Any]) -> dict[str, Any]:
    component: dict[str, Any] = (status.get("components") or {}).get("predictor") or {}
    return component


def _latest(status: dict[str, Any]) -> dict[str, Any]:
    targets: list[dict[str, Any]] = _component(status).get("traffic") or []
    return next((target for target in targets if target.get("latestRevision")), {})


def _share(status: dict[str, Any], revision: str | None) -> int:
    targets: list[dict[str, Any]] = _component(status).get("traffic") or []
    return sum(t.get("percent") or 0 for t in targets if t.get("revisionName") == revision)
