"""What the manifests allow, looked at as rendered: nobody more than they need."""

from __future__ import annotations

import json
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from platform_pods import AUTHORISED
from rendered import KUSTOMIZE, OVERLAYS, ROOT, name_of, number, of_kind, overlay, pods, selects

from pipelines.cluster_parameters import STEP_LABEL
from pipelines.steps import NEEDS
from recommender.config import load
from recommender.config.tuning import TuningConfig

pytestmark = pytest.mark.may_skip

everywhere = pytest.mark.parametrize("environment", OVERLAYS)


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


@everywhere
def test_no_pod_runs_as_root_or_writes_where_it_shouldnt(environment):
    for name, _, spec in pods(environment):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert pod["runAsUser"] >= 1000, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for key in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
            assert key not in spec, name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
        for each in containers(spec):
            security = each["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


def test_a_runs_steps_are_no_root_either_and_say_which_step_they_are():
    documents = list(
        yaml.load_all((ROOT / "pipelines/compiled/training.yaml").read_text(), yaml.CSafeLoader)
    )
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    named = set()
    for each in executors.values():
        security = each["securityContext"]
        assert security["runAsNonRoot"] is True
        assert int(security["runAsUser"]) >= 1000
        named.add(each["podMetadata"]["labels"][STEP_LABEL])
    assert named == set(NEEDS)


@everywhere
def test_what_argo_events_starts_is_restricted_too(environment):
    def sections(value):
        if isinstance(value, dict):
            for key, item in value.items():
                if key.lower().endswith(("container", "containertemplate")):
                    yield key, item
                yield from sections(item)

    for each in of_kind(environment, "EventSource", "Sensor", "EventBus"):
        found = list(sections(each["spec"]))
        assert found, name_of(each)
        for key, container in found:
            assert container["securityContext"]["runAsNonRoot"] is True, key
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, key
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, key
            assert "memory" in container["resources"]["limits"], key
        pod = each["spec"].get("jetstream") or each["spec"]["template"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@everywhere
def test_every_container_asks_for_what_it_may_use(environment):
    for name, _, spec in pods(environment):
        for each in containers(spec):
            asked, most = each["resources"]["requests"], each["resources"]["limits"]
            assert {"cpu", "memory"} <= set(asked), name
            assert number(asked["memory"]) <= number(most["memory"]), name
            # Throttling shows as latency; a leak ends at the limit.
            assert "cpu" not in most, name


@everywhere
def test_a_pod_can_be_probed_drained_and_stopped(environment):
    budgets = of_kind(environment, "PodDisruptionBudget")
    for name, labels, spec in pods(environment):
        if labels.get("app") == "redis":
            continue  # a developer's, without data that matter
        assert any(selects(each["spec"]["selector"], labels) for each in budgets), name
        for each in containers(spec):
            assert {"readinessProbe", "livenessProbe", "startupProbe"} <= set(each), name
            pause = each["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pause + 20 < spec["terminationGracePeriodSeconds"], name


@everywhere
def test_tokens_of_the_api_are_mounted_for_steps_and_sensors_only(environment):
    for name, _, spec in pods(environment):
        assert spec["automountServiceAccountToken"] is False, name
    accounts = {each["metadata"]["name"]: each for each in of_kind(environment, "ServiceAccount")}
    for name, account in accounts.items():
        # A step's executor tells the API how it ended; a sensor ends when it finds no token, though
        # it asks the API for nothing (argo-events: pkg/sensors/cmd/start.go, GetClientConfig).
        mounted = name in NEEDS or name == "sensors"
        assert account.get("automountServiceAccountToken", True) is mounted, name
    assert set(NEEDS) <= set(accounts)
    events = {
        kind: {
            each["spec"]["template"]["serviceAccountName"] for each in of_kind(environment, kind)
        }
        for kind in ("EventSource", "Sensor")
    }
    assert events == {"EventSource": {"events"}, "Sensor": {"sensors"}}
    used = {spec.get("serviceAccountName") for _, _, spec in pods(environment)} - {None}
    assert used <= set(accounts)


def test_the_rights_of_a_rollout_are_those_that_its_page_lists_and_only_who_rolls_out_has_them():
    page = (ROOT / "docs" / "rollout-kserve.md").read_text()
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "kind: Role\n" in b]
    told = [each["rules"] for each in yaml.safe_load_all(block)]
    ours = of_kind("prod", "Role", "ClusterRole")
    found = [each["rules"] for each in ours if each["metadata"]["name"] == "ostinato-rollout"]

    def plain(rules):
        return sorted(json.dumps(each, sort_keys=True) for each in rules)

    assert plain(found) == plain(told)
    holders: dict[tuple[str, str], set[str]] = {}
    for binding in of_kind("prod", "RoleBinding", "ClusterRoleBinding"):
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            assert subject["namespace"] == "ostinato"
            where = (binding["roleRef"]["name"], binding["metadata"].get("namespace", ""))
            holders.setdefault(where, set()).add(subject["name"])
    # The account of all pods of a run (KFP knows one), and the step's own (accounts-per-step).
    runs = load(KUSTOMIZE / "overlays" / "prod" / "config.yaml").backend.service_account
    assert holders == {
        ("ostinato-rollout", "ostinato"): {"deploy", runs},
        ("ostinato-rollout", "kserve"): {"deploy", runs},
        ("ostinato-rollout", ""): {"deploy", runs},
        ("step", "ostinato"): {*NEEDS, runs},
        ("submit-runs", "ostinato"): {"triggers"},
    }


def test_who_submits_may_make_each_call_that_submitting_and_following_makes():
    """KFP with many users asks for a verb per call; of two who submit at once one ends a run."""
    sys.path.append(str(ROOT / "tests" / "pipelines" / "backend"))
    from kfp_server import KfpServer

    from pipelines.backend.connection import connect
    from pipelines.backend.follow import look
    from pipelines.backend.submit import submit

    (role,) = [e for e in of_kind("prod", "Role") if e["metadata"]["name"] == "submit-runs"]
    allowed = {
        (verb, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    with KfpServer() as server:
        config = load(ROOT / "configs" / "synthetic.yaml", {"backend.host": server.url})
        first = submit(connect(config), config)
        look(connect(config), first.run_id)
        # Two ask at once: the other's run shows when ours is made already.
        server.runs[first.run_id]["state"] = "FAILED"
        backend = connect(config)
        make = backend.client.run_pipeline

        def meanwhile(*words, **named):
            made = make(*words, **named)
            server.runs[first.run_id]["state"] = "RUNNING"
            return made

        backend.client.run_pipeline = meanwhile
        assert submit(backend, config).run_id == first.run_id
        calls = {re.sub(r"/(run|pipeline)-\d+", "/{id}", call) for call in server.calls}
    asked = {AUTHORISED[call] for call in calls if call != "GET /healthz"}
    assert ("terminate", "runs") in asked
    assert asked <= allowed
    # What is given beyond that changes nothing.
    assert {verb for verb, _ in allowed - asked} <= {"get", "list"}


@everywhere
def test_no_right_is_given_by_a_wildcard_or_to_read_secrets(environment):
    for role in of_kind(environment, "Role", "ClusterRole"):
        for rule in role["rules"]:
            told = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in told, name_of(role)
            assert "secrets" not in rule["resources"], name_of(role)
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"]), name_of(role)


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_every_iam_role_that_is_named_is_made_by_terraform(environment):
    code = (ROOT / "infra/terraform/modules/identity/main.tf").read_text()
    steps = code[code.index("steps = {") : code.index("verbs = {")]
    made = set(re.findall(r"^    ([\w-]+)\s+= \{", steps, re.MULTILINE))
    named = {}
    for account in of_kind(environment, "ServiceAccount"):
        if arn := account["metadata"].get("annotations", {}).get("eks.amazonaws.com/role-arn"):
            named[account["metadata"]["name"]] = arn
    assert set(named) == made
    for name, arn in named.items():
        assert arn.endswith(f":role/ostinato-{environment}-{name}")


def test_servers_are_admitted_by_the_strictest_standard():
    (namespace,) = of_kind("prod", "Namespace")
    labels = namespace["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_quantities_are_read_as_kubernetes_reads_them():
    assert number("500m") == Decimal("0.5")
    assert number("2Gi") > number("2G") > number("512Mi")


@everywhere
def test_the_quota_covers_servers_a_canary_and_a_run_or_a_studys_workers(environment):
    (quota,) = of_kind(environment, "ResourceQuota")
    hard = {key: number(value) for key, value in quota["spec"]["hard"].items()}
    asked = {"cpu": Decimal(0), "memory": Decimal(0)}

    def add(requests, times):
        for key in asked:
            asked[key] += number(requests[key]) * times

    for each in of_kind(environment, "Deployment"):
        for container in containers(each["spec"]["template"]["spec"]):
            # One more while a new version is rolled out.
            add(container["resources"]["requests"], each["spec"].get("replicas", 1) + 1)
    for each in of_kind(environment, "InferenceService"):
        predictor = each["spec"]["predictor"]
        # The whole of it, and a canary as large beside it.
        times = predictor["maxReplicas"] + predictor["minReplicas"]
        add(predictor["model"]["resources"]["requests"], times)
    for each in of_kind(environment, "EventBus"):
        for key, template in each["spec"]["jetstream"].items():
            if key.lower().endswith("containertemplate"):
                add(template["resources"]["requests"], each["spec"]["jetstream"]["replicas"])
    for each in of_kind(environment, "EventSource", "Sensor"):
        add(each["spec"]["template"]["container"]["resources"]["requests"], 1)
    largest = max(NEEDS.values(), key=lambda needs: number(needs.memory))
    # A study's workers run at a time, each in a pod that trains.
    workers = TuningConfig().workers
    add({"cpu": largest.cpu, "memory": largest.memory}, workers)
    assert asked["cpu"] <= hard["requests.cpu"]
    assert asked["memory"] <= hard["requests.memory"] <= hard["limits.memory"]
    assert workers * largest.gpus <= hard["requests.nvidia.com/gpu"]
    (limits,) = of_kind(environment, "LimitRange")
    most = number(limits["spec"]["limits"][0]["max"]["memory"])
    assert most >= number(largest.memory)
    assert "cpu" not in limits["spec"]["limits"][0]["default"], "a CPU limit for every server"


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_images_are_named_by_digest(environment):
    for each in of_kind(environment, "Deployment"):
        for container in containers(each["spec"]["template"]["spec"]):
            assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"]), container["image"]


def test_the_developers_cluster_runs_what_kind_pins():
    versions = dict(
        line.split("=", 1)
        for line in (ROOT / "infra/kind/versions.env").read_text().splitlines()
        if "=" in line
    )
    images = {
        container["image"]
        for each in of_kind("dev", "Deployment")
        for container in containers(each["spec"]["template"]["spec"])
    }
    assert versions["REDIS_IMAGE"] in images
    assert not any(image.endswith(":latest") or ":" not in image for image in images)


def test_no_secret_is_in_git_and_each_that_is_needed_is_told_in_operations():
    page = (ROOT / "docs" / "operations.md").read_text()
    for environment in OVERLAYS:
        assert not of_kind(environment, "Secret")
        for secret, key in sorted(set(secrets_of(overlay(environment)))):
            assert f"`{secret}`" in page, secret
            assert f"`{key}`" in page, f"{secret}: {key}"
    for path in Path(KUSTOMIZE).rglob("*"):
        if path.is_file() and path.suffix in (".yaml", ".env"):
            assert not re.search(r"AKIA[0-9A-Z]{16}|\b\d{12}\b", path.read_text()), path


def secrets_of(value):
    if isinstance(value, dict):
        for key, item in value.items():
            told = isinstance(item, dict) and {"name", "key"} <= set(item)
            if told and (key == "secretKeyRef" or key in ("authSecret", "accessKey", "secretKey")):
                yield item["name"], item["key"]
            yield from secrets_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_of(item)


@everywhere
def test_every_variable_that_the_configuration_names_is_in_the_pods_of_the_step_that_reads_it(
    environment,
):
    config = load(KUSTOMIZE / "overlays" / environment / "config.yaml")
    read = {("train", config.tuning.storage_variable)}
    if config.rollout.target == "gitops":
        git = config.rollout.targets.gitops
        assert git.repository.startswith("https://")
        assert git.token_env, "pods have no credential helper of Git"
        read.add(("deploy", git.token_env))
    given: dict[str, set[str]] = {}
    for path in (ROOT / "pipelines" / "compiled").glob("*.yaml"):
        documents = list(yaml.load_all(path.read_text(), yaml.CSafeLoader))
        executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for each in executors.values():
            found = {
                variable["envVar"]
                for secret in each["secretAsEnv"]
                for variable in secret["keyToEnv"]
            }
            assert all(secret["optional"] for secret in each["secretAsEnv"])
            step = each["podMetadata"]["labels"][STEP_LABEL]
            assert given.setdefault(step, found) == found
    assert all(variable in given[step] for step, variable in read)
    # A credential is where it is used, and nowhere else.
    assert {step for step, found in given.items() if "DEPLOY_TOKEN" in found} == {"deploy"}
