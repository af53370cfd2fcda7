"""A Ray cluster by KubeRay that builds features: fits its schemas, allows nobody more."""

from __future__ import annotations

import os

import kubernetes_validate
import pytest
import yaml
from image_contents import images, packages
from rendered import (
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    Object,
    name_of,
    number,
    of_kind,
    problems,
    quota_with,
    render,
)

from recommender.config.build import BuildConfig

FOLDER = KUSTOMIZE / "components" / "features-on-ray"
OPTIONAL = ("features-on-ray", "distributed-training", "accounts-per-step")


def objects(name: str) -> list[Object]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def groups(cluster: Object) -> list[Object]:
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


@pytest.fixture(scope="module")
def cluster() -> Object:
    (found,) = objects("cluster.yaml")
    return found


@pytest.mark.may_skip
@pytest.mark.parametrize("environment", OVERLAYS)
def test_an_overlay_may_name_every_optional_component(environment, tmp_path):
    """All of them at once, after its own: nothing is there twice, nothing is without a schema."""
    told = {
        "resources": [os.path.relpath(KUSTOMIZE / "overlays" / environment, tmp_path)],
        "components": [os.path.relpath(KUSTOMIZE / "components" / n, tmp_path) for n in OPTIONAL],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(told))
    found = {name_of(each): each for each in render(tmp_path)}
    plain = {
        name_of(each) for kind in ("NetworkPolicy", "Role") for each in of_kind(environment, kind)
    }
    assert plain < set(found)
    added = {
        "ClusterTrainingRuntime/ostinato-train",
        "Role/train-jobs",
        "NetworkPolicy/train-nodes",
        "RayCluster/ostinato-features",
        "NetworkPolicy/features-ray",
        "MutatingAdmissionPolicy/ostinato-accounts-per-step",
    }
    assert added <= set(found)
    assert problems(found["RayCluster/ostinato-features"]) == []
    claims = {each["metadata"]["name"] for each in of_kind(environment, "PersistentVolumeClaim")}
    for group in groups(found["RayCluster/ostinato-features"]):
        for volume in group["template"]["spec"]["volumes"]:
            assert volume.get("persistentVolumeClaim", {}).get("claimName", *claims) in claims


def test_the_cluster_fits_its_schema_its_pods_theirs_and_a_typo_does_not(cluster):
    assert problems(cluster) == []
    for group in groups(cluster):
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        kubernetes_validate.validate(pod, "1.33", strict=True)
    for place in (cluster["spec"], *groups(cluster)):
        place["replcias"] = 1
        assert problems(cluster), place
        del place["replcias"]
    for each in objects("network.yaml"):
        kubernetes_validate.validate(each, "1.33", strict=True)


def test_its_pods_are_admitted_by_the_strictest_standard(cluster):
    for group in groups(cluster):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "cpu" not in container["resources"]["limits"]
        # Ray writes its logs, and what it spills, below /tmp.
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert not mounts["/tmp"].get("readOnly")
        assert mounts["/var/lib/ostinato"]["readOnly"] is True


def test_nobody_calls_it_without_the_token_that_the_steps_have(cluster):
    for group in groups(cluster):
        env = {each["name"]: each for each in group["template"]["spec"]["containers"][0]["env"]}
        assert env["RAY_AUTH_MODE"]["value"] == "token"
        secret = env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert secret == {"name": "ostinato-ray", "key": "token"}
    documents = list(
        yaml.load_all((ROOT / "pipelines/compiled/training.yaml").read_text(), yaml.CSafeLoader)
    )
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    having = {
        each["podMetadata"]["labels"]["ostinato.example/step"]
        for each in executors.values()
        for given in each["secretAsEnv"]
        if given["secretName"] == "ostinato-ray"
        and {"envVar": "RAY_AUTH_TOKEN", "secretKey": "token"} in given["keyToEnv"]
    }
    assert having == {"materialize", "deploy"}
    page = (ROOT / "docs" / "operations.md").read_text()
    assert "`ostinato-ray`" in page


def test_only_the_steps_that_build_reach_it_and_it_reaches_nobody(cluster):
    nodes, steps = objects("network.yaml")
    chosen = nodes["spec"]["podSelector"]["matchLabels"]
    for group in groups(cluster):
        assert chosen.items() <= group["template"]["metadata"]["labels"].items()
    each_other, asked = nodes["spec"]["ingress"]
    assert each_other == {"from": [{"podSelector": {"matchLabels": chosen}}]}
    assert nodes["spec"]["egress"] == [{"to": [{"podSelector": {"matchLabels": chosen}}]}]
    port = int(cluster["spec"]["headGroupSpec"]["rayStartParams"]["ray-client-server-port"])
    (way,) = steps["spec"]["egress"]
    assert asked["ports"] == way["ports"] == [{"protocol": "TCP", "port": port}]
    assert asked["from"] == [{"podSelector": steps["spec"]["podSelector"]}]
    (rule,) = steps["spec"]["podSelector"]["matchExpressions"]
    assert set(rule["values"]) == {"materialize", "deploy"}


def test_the_address_that_operations_tells_is_that_of_its_service(cluster):
    """KubeRay names the head's service after the cluster."""
    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    address = f"ray://{name}-head-svc.{namespace}.svc.cluster.local:10001"
    assert BuildConfig(engine="ray", address=address).address == address
    assert address in (ROOT / "docs" / "operations.md").read_text()


def test_steps_and_nodes_have_the_ray_that_the_cluster_says(cluster):
    ray = packages(images()["ray"].extras)
    assert ray["ray"].version == cluster["spec"]["rayVersion"]
    assert "grpcio" in ray, "without it no client is answered"
    for name in ("materialize", "deploy"):
        have = packages(images()[name].extras)
        assert {"ray", "grpcio"} <= set(have)
    for group in groups(cluster):
        assert group["template"]["spec"]["containers"][0]["image"] == "ostinato-ray"


@pytest.mark.may_skip
def test_the_components_quota_admits_its_nodes_beside_what_the_base_admits(cluster, tmp_path):
    base, whole = (quota_with(components, tmp_path) for components in ([], [FOLDER]))
    for key, kind, of in (
        ("requests.cpu", "requests", "cpu"),
        ("requests.memory", "requests", "memory"),
        ("limits.memory", "limits", "memory"),
    ):
        asked = sum(
            number(group["template"]["spec"]["containers"][0]["resources"][kind][of])
            * group.get("maxReplicas", 1)
            for group in groups(cluster)
        )
        assert whole[key] >= base[key] + asked, key
