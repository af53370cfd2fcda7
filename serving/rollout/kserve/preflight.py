"""What kind of canary the cluster can do, looked at before anything is changed.

The wrong kind is not refused by KServe but ignored: `canaryTrafficPercent` in Standard mode would
give the candidate everybody at once, and `spec.canary` without the Gateway API or before 0.21 would
give it nobody.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from recommender.config.rollout_targets import KServeTargetConfig
from recommender.errors import RolloutError, ServingError
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.situation import Mode, marks_of

logger = logging.getLogger(__name__)

MODE = "serving.kserve.io/deploymentMode"
"""Annotation that says how an InferenceService is deployed."""

CRD = "inferenceservices.serving.kserve.io"
CONFIG_MAP = "inferenceservice-config"
CONTROLLER = "kserve-controller-manager"

_MODES = {
    "Standard": Mode.STANDARD,
    "RawDeployment": Mode.STANDARD,
    "Knative": Mode.KNATIVE,
    "Serverless": Mode.KNATIVE,
}
_FIRST_STANDARD = (0, 21)
# A name of a Deployment is a label of its pods.
_LONGEST_NAME = 63


@dataclass(frozen=True)
class Installed:
    """What the cluster can do.

    Attributes:
        mode: how the InferenceService is deployed.
        version: of KServe, (major, minor); None where it can't be read (Knative mode only).
    """

    mode: Mode
    version: tuple[int, int] | None


def inspect(
    cluster: Cluster, settings: KServeTargetConfig, service: dict[str, Any] | None
) -> Installed:
    """Look at KServe and at the InferenceService.

    Args:
        cluster: where both are.
        settings: of the target.
        service: the InferenceService; None if there is none yet.

    Raises:
        RolloutError: this KServe can't split the traffic of this InferenceService.
        ServingError: the cluster can't be asked.
    """
    kserve = _config_map(cluster, settings)
    mode = _mode(settings, service, kserve)
    version = _version(cluster, settings)
    if service is not None and service["spec"].get("transformer"):
        raise RolloutError(
            f"{service['metadata']['name']} has a transformer, which no canary can go round",
            "read features in the predictor, and remove the transformer",
        )
    if mode is Mode.STANDARD:
        _require_standard(cluster, kserve, version)
    return Installed(mode, version)


def require_short(name: str, version: str) -> None:
    """Make sure that a canary's Deployment can have its name.

    Raises:
        RolloutError: it would be too long.
    """
    deployment = f"{name}-{version}-predictor"
    if len(deployment) > _LONGEST_NAME:
        raise RolloutError(
            f"{deployment} has {len(deployment)} characters, and Kubernetes allows {_LONGEST_NAME}",
            "give the InferenceService a shorter name (rollout.targets.kserve.name)",
        )


def _config_map(cluster: Cluster, settings: KServeTargetConfig) -> dict[str, Any]:
    """Return KServe's configuration, each key parsed."""
    where = settings.controller_namespace
    found = cluster.get(Resource("v1", "configmaps", where), CONFIG_MAP)
    if found is None:
        raise RolloutError(
            f"KServe is not in the namespace {where}: it has no ConfigMap {CONFIG_MAP}",
            "install KServe, or set rollout.targets.kserve.controller_namespace",
        )
    parsed = {}
    for key, text in (found.get("data") or {}).items():
        with suppress(ValueError):
            parsed[key] = json.loads(text)
    return parsed


def _mode(
    settings: KServeTargetConfig, service: dict[str, Any] | None, kserve: dict[str, Any]
) -> Mode:
    """Return how the InferenceService is deployed: as it says itself, else KServe's default."""
    told = None
    if service is None and settings.mode != "auto":
        return Mode(settings.mode)  # it will be created with an annotation that says so
    if service is not None:
        told = (service.get("status") or {}).get("deploymentMode") or marks_of(service).get(MODE)
    told = told or (kserve.get("deploy") or {}).get("defaultDeploymentMode") or "Knative"
    if told not in _MODES:
        raise RolloutError(
            f"the deployment mode is {told}, which has no canary", "use Standard or Knative"
        )
    mode = _MODES[told]
    if settings.mode not in ("auto", mode):
        raise RolloutError(
            f"rollout.targets.kserve.mode is {settings.mode}, but the cluster deploys it as {told}",
            "set it to auto; the mode of an InferenceService can't be changed",
        )
    return mode


def _version(cluster: Cluster, settings: KServeTargetConfig) -> tuple[int, int] | None:
    """Return KServe's version, from the settings, or the label or image of its controller."""
    if settings.version:
        return _parsed(settings.version)
    deployments = Resource("apps/v1", "deployments", settings.controller_namespace)
    try:
        found = cluster.get(deployments, CONTROLLER)
    except ServingError as error:
        logger.warning("KServe's version can't be read: %s", error.message)
        return None
    if found is None:
        return None
    containers = found["spec"]["template"]["spec"]["containers"]
    tags = [c["image"].partition("@")[0].rpartition(":")[2] for c in containers if "image" in c]
    label = (found["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    # The image is what runs; labels are forgotten in upgrades. Sidecars have versions, too.
    named = [tag for c, tag in zip(containers, tags, strict=True) if c.get("name") == "manager"]
    return next((v for text in [*(named or tags), label] if (v := _parsed(text))), None)


def _parsed(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"v?(\d+)\.(\d+)(\D.*)?", text)
    return (int(match[1]), int(match[2])) if match else None


def _require_standard(
    cluster: Cluster, kserve: dict[str, Any], version: tuple[int, int] | None
) -> None:
    """Make sure that `spec.canary` is there and routes traffic."""
    if version is None:
        raise RolloutError(
            "KServe's version can't be told, and before 0.21 a canary in Standard mode is accepted "
            "but gets no traffic",
            "set rollout.targets.kserve.version to what is installed",
        )
    if version < _FIRST_STANDARD:
        raise RolloutError(
            f"KServe {version[0]}.{version[1]} can't split traffic in Standard mode: before 0.21 "
            "spec.canary is accepted or dropped, and gets no traffic; canaryTrafficPercent is "
            "ignored and would give the candidate everybody",
            "upgrade KServe to 0.21, or deploy in Knative mode",
        )
    if not (kserve.get("ingress") or {}).get("enableGatewayApi"):
        raise RolloutError(
            "KServe does not use the Gateway API here, and an Ingress has no weights",
            f"set enableGatewayApi to true in the ConfigMap {CONFIG_MAP}, key ingress",
        )
    _require_field(cluster)


def _require_field(cluster: Cluster) -> None:
    """Make sure that the installed CRD has `spec.canary`; charts don't always upgrade CRDs."""
    try:
        found = cluster.get(Resource("apiextensions.k8s.io/v1", "customresourcedefinitions"), CRD)
    except ServingError as error:
        # Strict validation refuses an unknown field anyway; this only says it earlier.
        logger.warning("the CRD of InferenceService can't be read: %s", error.message)
        return
    versions = (found or {}).get("spec", {}).get("versions", [])
    schema: dict[str, Any] = next(
        (v.get("schema", {}) for v in versions if v.get("name") == "v1beta1"), {}
    )
    spec = schema.get("openAPIV3Schema", {}).get("properties", {}).get("spec", {})
    if "properties" not in spec:
        logger.warning("the CRD of InferenceService has no schema: misspelt fields are not caught")
    elif "canary" not in spec["properties"]:
        raise RolloutError(
            f"the CRD {CRD} has no field spec.canary, although KServe is new enough",
            "apply the CRDs of the KServe version that is installed",
        )
