"""Reads what people own in the repository: the kustomizations and the InferenceService.

Nothing here is ever written. What a rollout needs of it: which InferenceService it is about, how it
is deployed, what its canary must be like (the same but for the model), and that the bot's component
is part of what the controller renders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from recommender.errors import RolloutError
from serving.rollout.kserve.situation import Mode

Read = Callable[[str], str | None]
"""Returns the text of a file of the repository, None where there is none."""

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_MODE = "serving.kserve.io/deploymentMode"
_MODES = {
    "Standard": Mode.STANDARD,
    "RawDeployment": Mode.STANDARD,
    "Knative": Mode.KNATIVE,
    "Serverless": Mode.KNATIVE,
}


class LayoutError(RolloutError):
    """People's part of the repository is not laid out as a rollout needs it."""


@dataclass(frozen=True)
class People:
    """What people own.

    Attributes:
        service: the InferenceService, without any model version.
        mode: how it is deployed.
        runtimes: names of the ServingRuntimes that people have committed.
    """

    service: dict[str, Any]
    mode: Mode
    runtimes: frozenset[str]


def people(read: Read, path: str, component: str, name: str) -> People:
    """Read people's part.

    Args:
        read: of the files of one commit.
        path: folder of their kustomization.
        component: the bot's folder in it.
        name: of the InferenceService.

    Raises:
        LayoutError: something is missing, or would undo or distort what the bot writes.
    """
    top, where = _kustomization(read, path)
    parts = [posixpath.normpath(str(part)) for part in top.get("components") or []]
    if component not in parts:
        raise LayoutError(
            f"{where} does not name the component {component}: nothing that the bot commits "
            "would reach the cluster",
            f"add `components: [{component}]` to it",
        )
    objects = _objects(read, path, set())
    services = [
        (file, found)
        for file, found in objects
        if found.get("kind") == "InferenceService" and found.get("metadata", {}).get("name") == name
    ]
    if len(services) != 1:
        told = ", ".join(file for file, _ in services) or "none"
        raise LayoutError(
            f"there must be one InferenceService {name} among the resources of {where}: {told}"
        )
    file, service = services[0]
    runtimes = frozenset(
        str(found["metadata"]["name"])
        for _, found in objects
        if found.get("kind") == "ServingRuntime"
    )
    return People(service, _mode(file, service), runtimes)


def _mode(file: str, service: dict[str, Any]) -> Mode:
    """Check the InferenceService and return how it is deployed."""
    spec = service.get("spec") or {}
    predictor = spec.get("predictor") or {}
    if not isinstance(predictor.get("model"), dict) or "modelFormat" not in predictor["model"]:
        raise LayoutError(f"{file} has no spec.predictor.model with a modelFormat")
    bots = [
        field
        for field, found in {
            "spec.canary": spec.get("canary"),
            "spec.predictor.canaryTrafficPercent": predictor.get("canaryTrafficPercent"),
            "spec.predictor.model.storageUri": predictor["model"].get("storageUri"),
            "spec.predictor.model.runtime": predictor["model"].get("runtime"),
        }.items()
        if found is not None
    ]
    if bots:
        raise LayoutError(f"{file} sets {', '.join(bots)}, which the bot owns", "remove it there")
    told = (service["metadata"].get("annotations") or {}).get(_MODE)
    if told not in _MODES:
        raise LayoutError(
            f"{file} does not say how it is deployed (annotation {_MODE}: {told})",
            "say Standard or Knative: the wrong kind of canary is ignored in silence",
        )
    return _MODES[told]


def _objects(read: Read, folder: str, seen: set[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects that a kustomization names, with their files."""
    if folder in seen:
        return []
    seen.add(folder)
    told, where = _kustomization(read, folder)
    _check(read, folder, told, where)
    found: list[tuple[str, dict[str, Any]]] = []
    for resource in told.get("resources") or []:
        if "://" in str(resource) or "?ref=" in str(resource):
            continue  # of another repository: nothing of ours
        path = posixpath.normpath(posixpath.join(folder, str(resource)))
        if path.startswith(".."):
            raise LayoutError(f"{where} names {resource}, which is outside of the repository")
        text = read(path)
        if text is None:
            found += _objects(read, path, seen)
        else:
            found += [(path, d) for d in documents(text, path) if isinstance(d, dict)]
    return found


def _check(read: Read, folder: str, told: dict[str, Any], where: str) -> None:
    """Refuse what changes names or the InferenceService behind our back."""
    for field in ("namePrefix", "nameSuffix"):
        if told.get(field):
            raise LayoutError(f"{where} has a {field}: runtimes would not be found by their name")
    for patch in [*(told.get("patches") or []), *(told.get("patchesStrategicMerge") or [])]:
        given = patch if isinstance(patch, dict) else {"path": patch}
        text = str(given.get("patch") or "")
        if given.get("path"):
            text = read(posixpath.normpath(posixpath.join(folder, str(given["path"])))) or ""
        kind = (given.get("target") or {}).get("kind")
        patched = [d for d in documents(text, where) if isinstance(d, dict)]
        if kind == "InferenceService" or any(d.get("kind") == "InferenceService" for d in patched):
            raise LayoutError(
                f"{where} patches the InferenceService; a canary would not get that",
                "write it into the InferenceService itself, in the base",
            )


def _kustomization(read: Read, folder: str) -> tuple[dict[str, Any], str]:
    for name in KUSTOMIZATIONS:
        path = posixpath.normpath(posixpath.join(folder, name))
        if (text := read(path)) is not None:
            told = documents(text, path)
            if len(told) == 1 and isinstance(told[0], dict):
                return told[0], path
            raise LayoutError(f"{path} is not one mapping")
    raise LayoutError(
        f"there is no kustomization.yaml in {folder} of the repository",
        "see rollout.targets.gitops.path; infra/gitops has an example",
    )


def documents(text: str, where: str) -> list[Any]:
    """Read the documents of a YAML file.

    Raises:
        LayoutError: it isn't YAML.
    """
    try:
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise LayoutError(f"{where} is not valid YAML: {error}") from error
