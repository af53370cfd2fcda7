"""What a rollout changes of an InferenceService, as JSON merge patches (RFC 7386).

Each step of a rollout is one patch, so there is no state between two of them that a kill could
leave. None in a patch removes a field; a list replaces the whole list.

**Replicas** (Standard). KServe subtracts the canary's replicas, once they are ready, from the
stable predictor's `minReplicas`, and refuses a canary with more than that. So while a canary is
there, the stable predictor asks for what it had before plus the canary's, and keeps what it had.
Until the canary is ready, it has that many pods more.
"""

from __future__ import annotations

import math
from typing import Any

from serving.rollout.kserve.situation import BEFORE, OWNER, REPLICAS, STABLE, Mode, marks_of

Patch = dict[str, Any]

KNATIVE_MOST = 99
"""Largest share of a canary in Knative mode. With 100 % nothing leads to the stable revision any
more: Knative takes its pods away, and a rollback would find nobody there."""

_NO_CANARY: dict[str, None] = {OWNER: None, REPLICAS: None}


def start(
    service: dict[str, Any],
    mode: Mode,
    predictor: dict[str, Any],
    *,
    owner: str,
    live: str,
    least: int,
) -> Patch:
    """Return the patch that puts a canary beside the stable predictor, with no traffic.

    Args:
        service: as it is.
        mode: how it is deployed.
        predictor: of the canary, complete.
        owner: who drives it.
        live: version that has the traffic.
        least: replicas of the canary.
    """
    if mode is Mode.KNATIVE:
        created = _predictor_status(service).get("latestCreatedRevision", "")
        marks = {OWNER: owner, STABLE: live}
        # The name would rename the Knative service; revisions of one service share the traffic.
        unnamed = {key: value for key, value in predictor.items() if key != "name"}
        there = service["spec"]["predictor"]
        most = there.get("maxReplicas") or math.inf
        changed = {
            **unnamed,
            "annotations": {**predictor.get("annotations", {}), BEFORE: created},
            "minReplicas": int(min(max(least, there.get("minReplicas") or 0), most)),
            "canaryTrafficPercent": 0,
        }
        return {"metadata": {"annotations": marks}, "spec": {"predictor": changed}}
    before = _replicas_before(service)
    replicas, raised = _replicas(service, before, 0, least)
    # KServe scales the stable predictor by itself, and refuses a canary that names a scaler.
    fixed = {k: v for k, v in predictor.items() if k not in ("maxReplicas", "autoScaling")}
    marks = {OWNER: owner, REPLICAS: "" if before is None else str(before)}
    canary = {"trafficPercent": 0, "predictor": {**fixed, "minReplicas": replicas}}
    return {
        "metadata": {"annotations": marks},
        "spec": {
            "predictor": {"minReplicas": raised},
            "canary": [canary],
        },
    }


def ramp(service: dict[str, Any], mode: Mode, percent: int, *, least: int) -> Patch | None:
    """Return the patch that gives the canary a share, or None if it has it.

    Args:
        service: as it is, with the canary.
        mode: how it is deployed.
        percent: of the traffic.
        least: replicas of the canary.
    """
    if mode is Mode.KNATIVE:
        share = min(percent, KNATIVE_MOST)
        if service["spec"]["predictor"]["canaryTrafficPercent"] == share:
            return None
        return {"spec": {"predictor": {"canaryTrafficPercent": share}}}
    canary = service["spec"]["canary"][0]
    before = _replicas_before(service)
    replicas, raised = _replicas(service, before, percent, least)
    predictor = {**canary["predictor"], "minReplicas": replicas}
    wanted = {**canary, "trafficPercent": percent, "predictor": predictor}
    if canary == wanted:
        return None
    return {
        "spec": {
            "predictor": {"minReplicas": raised},
            "canary": [wanted],
        }
    }


def promote(service: dict[str, Any], mode: Mode) -> Patch:
    """Return the patch that makes the canary the stable predictor; its pods go on as they are.

    Args:
        service: as it is, with the canary.
        mode: how it is deployed.
    """
    marks = {**_NO_CANARY, STABLE: None}
    if mode is Mode.KNATIVE:
        spec: Patch = {"predictor": {"canaryTrafficPercent": None}}
        return {"metadata": {"annotations": marks}, "spec": spec}
    # With the canary's name the Deployment that runs becomes the stable one, without a restart.
    predictor = service["spec"]["canary"][0]["predictor"]
    replicas = {"minReplicas": _replicas_before(service)}
    return {
        "metadata": {"annotations": marks},
        "spec": {"predictor": {**predictor, **replicas}, "canary": None},
    }


def rollback(service: dict[str, Any], mode: Mode) -> Patch:
    """Return the patch that gives everybody the stable version again.

    Args:
        service: as it is, with the canary.
        mode: how it is deployed.
    """
    if mode is Mode.KNATIVE:
        # The revision before keeps the traffic only as long as the share is 0; to put the old
        # model back into the spec would serve the candidate until a new revision is ready.
        spec: Patch = {"predictor": {"canaryTrafficPercent": 0}}
        return {"metadata": {"annotations": dict(_NO_CANARY)}, "spec": spec}
    replicas = {"minReplicas": _replicas_before(service)}
    return {
        "metadata": {"annotations": dict(_NO_CANARY)},
        "spec": {"predictor": replicas, "canary": None},
    }


def canary_replicas(stable: int | None, percent: int, least: int) -> int:
    """Return how many replicas a share of the traffic takes.

    Args:
        stable: `minReplicas` of the stable predictor; None is KServe's default, 1.
        percent: of the traffic.
        least: never fewer.
    """
    return max(least, math.ceil((1 if stable is None else stable) * percent / 100))


def merged(target: Any, patch: Any) -> Any:
    """Return what a JSON merge patch makes of a value (RFC 7386, section 2)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _replicas_before(service: dict[str, Any]) -> int | None:
    """Return the stable predictor's `minReplicas` as it was before any canary."""
    kept = marks_of(service).get(REPLICAS)
    if kept is None:
        replicas: int | None = service["spec"]["predictor"].get("minReplicas")
        return replicas
    return int(kept) if kept else None


def _replicas(
    service: dict[str, Any], before: int | None, percent: int, least: int
) -> tuple[int, int]:
    """Return the replicas of the canary, and what the stable predictor asks for meanwhile.

    Neither exceeds the stable predictor's `maxReplicas`, which KServe would refuse.
    """
    most = service["spec"]["predictor"].get("maxReplicas") or math.inf
    canary = int(min(canary_replicas(before, percent, least), most))
    return canary, int(min((1 if before is None else before) + canary, most))


def _predictor_status(service: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = service.get("status", {}).get("components", {}).get("predictor") or {}
    return status
