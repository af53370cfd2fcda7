"""What TrainJobs run on: fits the released models, and allows nobody more than they need."""

from __future__ import annotations

import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from rendered import KUSTOMIZE, OVERLAYS, ROOT, number, quota_with

from components.train.trainjob.follow import _SLACK_S
from pipelines.steps import NEEDS
from recommender.config.distributed import TrainJobConfig

sys.path.append(str(ROOT / "tests" / "components" / "trainjob"))

from trainer_schema import problems

FOLDER = KUSTOMIZE / "components" / "distributed-training"


def objects(name: str) -> list:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture(scope="module")
def runtime():
    (found,) = objects("runtime.yaml")
    return found


def pod_of(runtime):
    (job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return job, job["template"]["spec"]["template"]


def test_the_runtime_fits_the_released_models_and_a_typo_does_not(runtime):
    assert problems(runtime) == []
    runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["backofLimit"] = 1
    assert any("unknown field" in each and "backofLimit" in each for each in problems(runtime))
    del runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["backofLimit"]


def test_rights_and_network_fit_their_schemas():
    for name in ("role.yaml", "network.yaml"):
        for each in objects(name):
            kubernetes_validate.validate(each, "1.33", strict=True)


def test_whoever_runs_the_train_step_may_make_jobs():
    """Without an account per step that is the account of the run."""
    from recommender.config import load

    _, binding = objects("role.yaml")
    bound = {each["name"] for each in binding["subjects"]}
    assert "train" in bound
    for environment in OVERLAYS:
        config = load(KUSTOMIZE / "overlays" / environment / "config.yaml")
        assert config.backend.service_account in bound


def test_a_node_has_the_keys_that_steps_have_where_s3_is_no_aws(runtime):
    _, template = pod_of(runtime)
    (container,) = template["spec"]["containers"]
    found = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"]}
    for name, key in (
        ("AWS_ACCESS_KEY_ID", "minio-user"),
        ("AWS_SECRET_ACCESS_KEY", "minio-password"),
    ):
        assert found[name] == {"name": "stores", "key": key, "optional": True}


def test_its_pods_are_admitted_by_the_strictest_standard(runtime):
    _, template = pod_of(runtime)
    pod = template["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_job_names_the_runtime_its_parts_and_its_account(runtime, tmp_path):
    sys.path.append(str(Path(ROOT) / "tests" / "recommender" / "training"))
    from tiny_world import tiny_config

    from components.train.trainjob.manifest import train_job
    from recommender.config import parse

    tree = tiny_config(tmp_path).model_dump(mode="json")
    tree["distributed"]["trainjob"]["location"] = "s3://bucket/x"
    job = train_job(parse(tree, "test"), 0, "abc", {})
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    (patch,) = job["spec"]["runtimePatches"]
    (patched,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    part, template = pod_of(runtime)
    assert patched["name"] == part["name"]
    # Trainer gives command, image and resources to the container of this name only.
    assert [each["name"] for each in template["spec"]["containers"]] == [part["name"]]
    role, binding = objects("role.yaml")
    account = patched["template"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert account in [each["name"] for each in binding["subjects"]]
    assert role["rules"] == [
        {
            "apiGroups": ["trainer.kubeflow.org"],
            "resources": ["trainjobs"],
            "verbs": ["get", "create", "delete"],
        }
    ]


def test_an_evicted_node_does_not_end_the_others_and_a_failed_one_does(runtime):
    part, template = pod_of(runtime)
    job = part["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore"
    assert [each["type"] for each in rule["onPodConditions"]] == ["DisruptionTarget"]
    assert job["backoffLimit"] == 0
    # What a policy needs; and the Job that JobSet makes of it is one that Kubernetes takes.
    assert template["spec"]["restartPolicy"] == "Never"
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job}
    kubernetes_validate.validate(made, "1.33", strict=True)


@pytest.mark.may_skip
def test_the_components_quota_admits_four_nodes_beside_what_the_base_admits(tmp_path):
    base, whole = (quota_with(components, tmp_path) for components in ([], [FOLDER]))
    node = TrainJobConfig()
    asked = {
        "requests.cpu": number(node.cpu),
        "requests.memory": number(node.memory),
        "limits.memory": number(node.memory),
        "requests.nvidia.com/gpu": node.gpus,
    }
    assert base.keys() == whole.keys() >= asked.keys()
    for key, each in asked.items():
        assert whole[key] >= base[key] + 4 * each, key


def test_the_step_outlives_the_job_it_follows():
    job = TrainJobConfig()
    assert job.schedule_s + 3600 * job.hours + _SLACK_S <= 60 * NEEDS["train"].minutes


def test_nodes_speak_with_each_other_and_s3_only(runtime):
    (policy,) = objects("network.yaml")
    _, template = pod_of(runtime)
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen.items() <= template["metadata"]["labels"].items()
    (inward,) = policy["spec"]["ingress"]
    assert inward["from"] == [{"podSelector": {"matchLabels": chosen}}]
    _, outward = policy["spec"]["egress"]
    assert outward["ports"] == [{"protocol": "TCP", "port": 443}]
    assert "169.254.0.0/16" in outward["to"][0]["ipBlock"]["except"]
