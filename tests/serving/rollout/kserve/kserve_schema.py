"""The field set of the released SDK's own models, as an API server validates against it.

The SDK has no models for a few types of Kubernetes and Knative (`OPEN`): below those anything goes.
`spec.canary` and its status are in the SDK of 0.21. What the validating webhook refuses is written
from KServe's own tests of it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

OPEN = frozenset(
    {
        "K8sIoApiAppsV1DeploymentStrategy",
        "K8sIoApiAutoscalingV2HorizontalPodAutoscalerBehavior",
        "KnativeAddressable",
        "KnativeCondition",
        "KnativeDevServingPkgApisServingV1TrafficTarget",
        "KnativeURL",
        "ResourceQuantity",
        "V1ContainerRestartRule",
        "V1PodSchedulingGroup",
        "V1Time",
        "V1alpha1WorkerSpec",
        "V1beta1MetricQuantity",
        "datetime",
        "object",
    }
)
_PLAIN: dict[str, Any] = {"str": str, "bool": bool, "int": int, "float": (int, float)}
_MODES = {"Standard", "RawDeployment"}


def unknown_fields(value: Any, kind: str, path: str = "") -> list[str]:
    """Return the paths that the models don't know, as the API server writes them."""
    return [where for where, problem in _problems(value, kind, path) if problem == "unknown"]


def wrong_types(value: Any, kind: str, path: str = "") -> list[str]:
    """Return the paths whose values are of another type."""
    return [where for where, problem in _problems(value, kind, path) if problem == "type"]


def pruned(value: Any, kind: str) -> Any:
    """Return the value without the fields that the models don't know."""
    if value is None or kind in OPEN or kind in _PLAIN:
        return value
    if (inner := _inner(kind, "list")) and isinstance(value, list):
        return [pruned(item, inner) for item in value]
    if (inner := _inner(kind, "dict")) and isinstance(value, dict):
        return {key: pruned(item, inner) for key, item in value.items()}
    fields = _fields(kind)
    return {key: pruned(item, fields[key]) for key, item in value.items() if key in fields}


def denial(after: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Return why KServe's webhook refuses an InferenceService; "" if it doesn't."""
    spec = after["spec"]
    predictor = spec["predictor"]
    least = predictor.get("minReplicas", 1)
    if predictor.get("maxReplicas") and least > predictor["maxReplicas"]:
        return "minReplicas cannot be greater than maxReplicas"
    old = (before or {}).get("spec", {}).get("predictor", {})
    renamed = before is not None and old.get("name") != predictor.get("name")
    if renamed and old.get("model") == predictor.get("model"):
        return "predictor.name change requires a model change"
    canaries = spec.get("canary") or []
    mode = after["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode")
    if canaries and mode not in _MODES:
        return "canary is only supported in Standard deployment mode"
    if canaries and "model" not in predictor:
        return "canary requires a stable predictor with a model"
    names = [canary["predictor"].get("name") for canary in canaries]
    if not all(names):
        return "canary predictor.name is required"
    if len(set(names)) < len(names):
        return "canary predictor.name is duplicated"
    if predictor.get("name") in names:
        return f"canary predictor.name {predictor['name']} conflicts with stable predictor name"
    if sum(canary["trafficPercent"] for canary in canaries) > 100:
        return "sum of canary trafficPercent must be <= 100"
    for canary in canaries:
        for field in ("maxReplicas", "workerSpec", "scaleTarget", "scaleMetric", "autoScaling"):
            if field in canary["predictor"]:
                return f"canary predictor must not set {field}"
        if canary["predictor"].get("minReplicas", 0) > least:
            return "canary minReplicas must not exceed stable minReplicas"
    return ""


def _problems(value: Any, kind: str, path: str) -> list[tuple[str, str]]:
    if value is None or kind in OPEN:
        return []
    if inner := _inner(kind, "list"):
        if not isinstance(value, list):
            return [(path, "type")]
        return [p for i, item in enumerate(value) for p in _problems(item, inner, f"{path}[{i}]")]
    if inner := _inner(kind, "dict"):
        if not isinstance(value, dict):
            return [(path, "type")]
        return [p for k, item in value.items() for p in _problems(item, inner, f"{path}.{k}")]
    if kind in _PLAIN:
        right = isinstance(value, _PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if right else [(path, "type")]
    if not isinstance(value, dict):
        return [(path, "type")]
    found, fields = [], _fields(kind)
    for key, item in value.items():
        where = f"{path}.{key}".lstrip(".")
        found += _problems(item, fields[key], where) if key in fields else [(where, "unknown")]
    return found


def _inner(kind: str, outer: str) -> str:
    match = re.fullmatch(r"list\[(.+)\]" if outer == "list" else r"dict\(str, (.+)\)", kind)
    return match[1] if match else ""


@cache
def _fields(kind: str) -> dict[str, str]:
    import kserve.models
    from kubernetes.client import models

    model = getattr(kserve.models, kind, None) or getattr(models, kind)
    return {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
