"""The namespace as a profile of Kubeflow: taken by its controller, let in, without sidecars."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from rendered import KUSTOMIZE, OVERLAYS, name_of, of_kind, overlay, render

from recommender.config import load

pytestmark = pytest.mark.may_skip

everywhere = pytest.mark.parametrize("environment", OVERLAYS)
INJECT = "sidecar.istio.io/inject"
ADDED = {"distributed-training": "ClusterTrainingRuntime", "features-on-ray": "RayCluster"}


@everywhere
def test_the_profile_controller_accepts_the_namespace_and_kubeflow_lets_its_pods_in(environment):
    (profile,), (namespace,) = of_kind(environment, "Profile"), of_kind(environment, "Namespace")
    backend = load(KUSTOMIZE / "overlays" / environment / "config.yaml").backend
    assert profile["metadata"]["name"] == namespace["metadata"]["name"] == backend.namespace
    # "namespace already exist, but not owned by profile creator" it says of any other.
    assert namespace["metadata"]["annotations"]["owner"] == profile["spec"]["owner"]["name"]
    labels = namespace["metadata"]["labels"]
    # What Kubeflow's own NetworkPolicies select (kubeflow/manifests, common/networkpolicies/base).
    assert labels["app.kubernetes.io/part-of"] == "kubeflow-profile"
    # The controller writes this one itself; Argo CD and it would undo each other's work.
    assert "istio-injection" not in labels
    # The account that it makes is none of ours: two would own it.
    made = {each["metadata"]["name"] for each in of_kind(environment, "ServiceAccount")}
    assert backend.service_account == "default-editor"
    assert backend.service_account not in made


def templates(each: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield the labels of each kind of pod that an object makes."""
    if each["kind"] == "InferenceService":
        yield each["metadata"].get("labels", {})
        return
    here: list[Any] = [each["spec"]]
    while here:
        value = here.pop()
        if isinstance(value, list):
            here += value
        elif isinstance(value, dict):
            template = value.get("template", {})
            if {"containers", "serviceAccountName", "container"} & (
                set(template) | set(template.get("spec", {}))
            ):
                yield template.get("metadata", {}).get("labels", {})
            elif "reloaderContainerTemplate" in value:
                yield value.get("metadata", {}).get("labels", {})
            here += value.values()


MAKERS = {"Deployment", "EventSource", "Sensor", "EventBus", "InferenceService", *ADDED.values()}


@everywhere
def test_no_pod_gets_a_sidecar(environment):
    """`restricted` would refuse its first container, and no policy lets it speak with istiod."""
    without_pods = {"ServiceMonitor", "PodMonitor", "Profile"}
    for each in overlay(environment):
        if each["kind"] in MAKERS:
            found = list(templates(each))
            assert found, name_of(each)
            assert all(labels.get(INJECT) == "false" for labels in found), name_of(each)
        elif each["kind"] not in without_pods:
            assert "containers" not in str(each.get("spec", {})), name_of(each)


def test_nor_do_pods_of_the_components_that_an_overlay_may_name(tmp_path):
    shutil.copytree(KUSTOMIZE, tmp_path / "kustomize")
    path = tmp_path / "kustomize" / "overlays" / "prod" / "kustomization.yaml"
    told = yaml.safe_load(path.read_text())
    known = [name for name in ADDED if (KUSTOMIZE / "components" / name).is_dir()]
    at = told["components"].index("../../components/kubeflow-profile")
    told["components"][at:at] = [f"../../components/{name}" for name in known]
    path.write_text(yaml.safe_dump(told))
    objects = {each["kind"]: each for each in render(path.parent)}
    for name in known:
        found = list(templates(objects[ADDED[name]]))
        assert found, name
        assert all(labels.get(INJECT) == "false" for labels in found), name


@everywhere
def test_the_profile_comes_after_all_components_whose_pods_it_has_to_see(environment):
    path = KUSTOMIZE / "overlays" / environment / "kustomization.yaml"
    components = yaml.safe_load(path.read_text())["components"]
    assert components[-2:] == ["../../components/kubeflow-profile", "images"]
