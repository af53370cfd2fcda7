"""The overlays as `kubectl kustomize` renders them, and how objects are looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "infra" / "kustomize"
ARGOCD = ROOT / "infra" / "gitops" / "argocd"
OVERLAYS = ("dev", "staging", "prod")
SCHEMAS = Path(__file__).parent / "schemas"
UNITS = {"m": Decimal("0.001"), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "G": 10**9, "": 1}

Object = dict[str, Any]


def render(folder: Path) -> list[Object]:
    """Return the objects of a kustomization; skips loudly where nothing can render it."""
    if program := shutil.which("kustomize"):
        words = [program, "build"]
    elif program := shutil.which("kubectl"):
        words = [program, "kustomize"]
    else:
        pytest.skip("NOT CHECKED: neither kubectl nor kustomize is installed")
    told = subprocess.run(
        [*words, str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr
    return [each for each in yaml.load_all(told.stdout, yaml.CSafeLoader) if each]


@cache
def overlay(environment: str) -> tuple[Object, ...]:
    """Return the objects of an overlay; rendered once, not to be changed."""
    return tuple(render(KUSTOMIZE / "overlays" / environment))


def of_kind(environment: str, *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [each for each in overlay(environment) if each["kind"] in kinds]


def number(quantity: object) -> Decimal:
    """Return a quantity as Kubernetes reads it, in cores, bytes or pieces."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(quantity))
    assert found, quantity
    return Decimal(found[1]) * UNITS[found[2]]


def quota_with(components: Iterable[Path], folder: Path) -> dict[str, Decimal]:
    """Return what the base's quota admits once components are added, by resource.

    Args:
        components: their folders.
        folder: to render in; its kustomization is overwritten.
    """
    told = {
        "resources": [os.path.relpath(KUSTOMIZE / "base" / "limits", folder)],
        "components": [os.path.relpath(each, folder) for each in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(told))
    (quota,) = [each for each in render(folder) if each["kind"] == "ResourceQuota"]
    return {key: number(value) for key, value in quota["spec"]["hard"].items()}


def name_of(each: Object) -> str:
    """Return `Kind/name`."""
    return f"{each['kind']}/{each['metadata']['name']}"


def pods(environment: str) -> Iterator[tuple[str, Object, Object]]:
    """Yield name, labels and spec of every pod that the overlay describes.

    Deployments, and the InferenceService with the container that its ServingRuntime adds.
    """
    for each in of_kind(environment, "Deployment"):
        template = each["spec"]["template"]
        yield name_of(each), template["metadata"]["labels"], template["spec"]
    for each in of_kind(environment, "InferenceService"):
        spec = dict(each["spec"]["predictor"])
        model = spec.pop("model")
        name = each["metadata"]["name"]
        labels = {"serving.kserve.io/inferenceservice": name, "component": "predictor"}
        runtime = serving_runtime()["spec"]["containers"][0]
        spec["containers"] = [{**runtime, **model, "env": [*runtime["env"], *model["env"]]}]
        spec["volumes"] = serving_runtime()["spec"]["volumes"]
        yield name_of(each), labels, spec


@cache
def serving_runtime() -> Object:
    """Return the ServingRuntime that the code writes for the data set of the overlays."""
    from recommender.config import load
    from serving.inference_service import manifests

    config = load(KUSTOMIZE / "overlays" / "prod" / "config.yaml")
    image = f"registry.example.com/ostinato-serve@sha256:{'a' * 64}"
    runtime, _ = manifests(config, "m-1", "s3://models/m-1", "shop", image)
    return runtime


@cache
def schema(kind: str) -> Object:
    """Return the schema of a custom resource."""
    return json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))


def problems(each: Object) -> list[str]:
    """Return what is wrong with a custom resource, by path."""
    from jsonschema import Draft202012Validator

    found = Draft202012Validator(schema(each["kind"])).iter_errors(each)
    return [f"{'.'.join(str(p) for p in e.absolute_path)}: {e.message}" for e in found]


def selects(selector: Object, labels: Object) -> bool:
    """Tell whether a label selector takes these labels; an empty one takes all."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions") or []:
        here, values = labels.get(rule["key"]), rule.get("values", [])
        right = {
            "Exists": here is not None,
            "DoesNotExist": here is None,
            "In": here in values,
            "NotIn": here not in values,
        }[rule["operator"]]
        if not right:
            return False
    return True
