"""The developer's cluster: a script that shellcheck has nothing to say about, valid manifests.

The cluster itself is not started here: that takes Docker and a network.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

HERE = Path(__file__).parents[2] / "infra" / "kind"
SCRIPT = HERE / "cluster.sh"
CORE = {"v1", "apps/v1"}


def documents(path: Path) -> list[dict]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def test_shellcheck_has_nothing_to_say():
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("no shellcheck program; install Debian's package shellcheck")
    told = subprocess.run(
        [program, "-x", "infra/kind/cluster.sh"],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout


def test_it_says_how_it_is_used():
    told = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    for word in ("up", "e2e", "down"):
        assert f"cluster.sh {word}" in told.stdout


def test_a_missing_program_is_named(tmp_path):
    (tmp_path / "dirname").symlink_to(str(shutil.which("dirname")))
    told = subprocess.run(
        [str(shutil.which("bash")), SCRIPT, "down"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    assert told.returncode == 1
    assert "needs kind" in told.stderr


def test_every_version_is_pinned_in_one_file_and_used():
    versions = dict(
        line.split("=", 1)
        for line in (HERE / "versions.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    script = SCRIPT.read_text()
    for name, version in versions.items():
        assert f"${name}" in script, name
        assert re.search(r"\d+\.\d+|RELEASE", version), f"{name} is no version"
    assert not re.search(r"(latest|:v?\d+\.\d+)", script.replace("127.0.0.1", ""))


def test_every_image_is_built_and_loaded():
    from image_contents import images

    lists = re.findall(r"^readonly (?:STEPS|SERVERS)=\((.*)\)$", SCRIPT.read_text(), re.MULTILINE)
    assert len(lists) == 2
    assert sorted(" ".join(lists).split()) == sorted(images())


def test_every_secret_that_dev_reads_is_made():
    made: dict[str, set[str]] = {}
    for name, words in re.findall(
        r"^  secret ([\w-]+) ((?:.*\\\n)*.*)$", SCRIPT.read_text(), re.MULTILINE
    ):
        made[name] = set(re.findall(r"--from-literal=([\w-]+)=", words))
    folder = HERE.parent / "kustomize"
    read = set()
    for path in [
        *(folder / "base").rglob("*.yaml"),
        *(folder / "overlays" / "dev").rglob("*.yaml"),
    ]:
        read |= set(re.findall(r"\{name: ([\w-]+), key: ([\w-]+)[},]", path.read_text()))
    assert ("ostinato-stores", "redis") in read
    for name, key in read:
        assert key in made.get(name, ()), f"{name}: {key}"


@pytest.mark.may_skip
def test_kserve_gets_minios_key_by_the_account_of_devs_model_servers():
    """Its initializer reads the secrets that the account names; their address is in annotations."""
    from rendered import of_kind

    (service,) = of_kind("dev", "InferenceService")
    (account,) = [
        each
        for each in of_kind("dev", "ServiceAccount")
        if each["metadata"]["name"] == service["spec"]["predictor"]["serviceAccountName"]
    ]
    ((secret,),) = [list(each.values()) for each in account["secrets"]]
    script = SCRIPT.read_text()
    assert f"create secret generic {secret} " in script
    # Where dev's servers are, and where a run of single-user Kubeflow Pipelines starts its own.
    assert re.findall(r"^  kserve_key (\S+)$", script, re.MULTILINE) == ['"$NAMESPACE"', '"$RUNS"']
    for environment in ("staging", "prod"):
        assert not any("secrets" in each for each in of_kind(environment, "ServiceAccount"))


@pytest.mark.may_skip
def test_every_bucket_that_dev_names_is_made():
    from rendered import KUSTOMIZE, of_kind

    from recommender.config import load

    config = load(KUSTOMIZE / "overlays" / "dev" / "config.yaml")
    (settings,) = [
        each["data"]
        for each in of_kind("dev", "ConfigMap")
        if each["metadata"]["name"] == "ostinato-steps"
    ]
    (lake,) = [each for each in of_kind("dev", "EventSource") if each["metadata"]["name"] == "lake"]
    locations = (
        config.registry.location,
        config.serving.log.location,
        settings["OSTINATO_OFFLINE"],
        f"s3://{lake['spec']['minio']['landed']['bucket']['name']}/",
    )
    for location in locations:
        assert f"here/{location.split('/')[2]}" in SCRIPT.read_text()


@pytest.mark.parametrize("each", documents(HERE / "stores.yaml"), ids=lambda d: d["kind"])
def test_the_stores_fit_their_schemas(each):
    kubernetes_validate.validate(each, "1.33", strict=True)


def test_nothing_in_the_stores_runs_as_root_or_without_limits():
    for each in documents(HERE / "stores.yaml"):
        if each["kind"] != "Deployment":
            continue
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]


def test_the_run_finds_its_claim_settings_and_secrets_where_its_pods_start():
    """Single-user Kubeflow Pipelines: in its own namespace, and no node of kind has a GPU."""
    from pipelines.cluster_parameters import claim_of
    from recommender.config import load

    config = load(HERE / "e2e.yaml")
    script = SCRIPT.read_text()
    assert "--config infra/kind/e2e.yaml" in script
    (runs,) = re.findall(r"^readonly RUNS=(.*)$", script, re.MULTILINE)
    assert config.rollout.target == "kserve"
    assert config.rollout.targets.kserve.namespace == runs == "kubeflow"
    assert config.backend.namespace == ""
    assert config.backend.train.gpus == 0
    made = {each["kind"]: each for each in documents(HERE / "e2e-surroundings.yaml")}
    assert made["PersistentVolumeClaim"]["metadata"]["name"] == claim_of(config)
    text = (HERE.parents[1] / "pipelines" / "compiled" / "training.yaml").read_text()
    read = set(re.findall(r"configMapName: (\S+)", text))
    maps = {
        each["metadata"]["name"]: each["data"]
        for each in documents(HERE / "e2e-surroundings.yaml")
        if each["kind"] == "ConfigMap"
    }
    servers = config.rollout.targets.kserve.environment
    assert maps.keys() == read | {servers}
    # Steps and model servers have the same stores.
    assert maps[servers] == maps[next(iter(read))]
    buckets = {config.registry.location, config.serving.log.location}
    buckets.add(maps[servers]["OSTINATO_OFFLINE"])
    for location in buckets:
        assert f"here/{location.split('/')[2]}" in script


@pytest.mark.parametrize("each", documents(HERE / "e2e-surroundings.yaml"), ids=lambda d: d["kind"])
def test_the_surroundings_of_the_run_fit_their_schemas(each):
    kubernetes_validate.validate(each, "1.33", strict=True)


def test_model_servers_get_all_that_their_stores_ask_for(monkeypatch):
    """What the ConfigMap has and the script puts into the Secret is a whole profile, with keys."""
    from feature_repo.profile import read_profile
    from recommender.config import load

    config = load(HERE / "e2e.yaml")
    name = config.rollout.targets.kserve.environment
    (secret,) = re.findall(rf"create secret generic {name} ((?:.*\\\n)*.*)", SCRIPT.read_text())
    given = set(re.findall(r"--from-literal=([A-Z_0-9]+)=", secret))
    assert given >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OSTINATO_REDIS"}
    (registry,) = re.findall(r"--from-literal=registry=(\S+)", SCRIPT.read_text())
    known = {"OSTINATO_REDIS": "redis:6379,password=x", "OSTINATO_REGISTRY": registry}
    for variable in given:
        monkeypatch.setenv(variable, known.get(variable, "any"))
    (settings,) = (
        each["data"]
        for each in documents(HERE / "e2e-surroundings.yaml")
        if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
    )
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    profile = read_profile()
    assert not profile.embedded
    assert profile.offline_location(config.paths.features, "x").startswith("s3://features/")


def test_a_version_can_be_served_with_the_image_that_the_script_gives():
    """By digest, out of the registry that the node knows; our own manifests take nothing else."""
    from recommender.config import load
    from serving.rollout.kserve.situation import Mode
    from serving.rollout.kserve.versions import Catalogue

    class Places:
        def uri(self, version):
            return f"s3://registry/synthetic/models/{version}"

    class Cluster:
        made = None

        def get(self, *_):
            return None

        def create(self, _, document):
            self.made = document

    script = SCRIPT.read_text()
    (pushed,) = re.findall(r"^readonly PUSHED=(\S+)", script, re.MULTILINE)
    assert "--set rollout.targets.kserve.image=" in script
    (pattern,) = re.findall(r'sed -n "s\|(.*)\|\$PUSHED/ostinato-serve@\\1\|p"', script)
    told = f"0.1.0: digest: sha256:{'a' * 64} size: 1234"
    done = subprocess.run(
        ["sed", "-n", f"s|{pattern}|{pushed}/ostinato-serve@\\1|p"],
        input=told,
        capture_output=True,
        text=True,
        check=True,
    )
    image = done.stdout.strip()
    config = load(HERE / "e2e.yaml", {"rollout.targets.kserve.image": image})
    cluster = Cluster()
    catalogue = Catalogue(config, Places(), cluster, "ostinato", "synthetic_live")
    service = catalogue.wanted("m-1", Mode.STANDARD)
    assert service["spec"]["predictor"]["model"]["storageUri"].endswith("/m-1")
    catalogue.require_runtime("m-1")
    (container,) = cluster.made["spec"]["containers"]
    assert container["image"] == f"localhost:5001/ostinato-serve@sha256:{'a' * 64}"


def test_the_controller_of_kserve_gets_every_setting_that_it_requires():
    """Its configmap.go: with the Gateway API, too, `ingressGateway` must be there."""
    (patch,) = documents(HERE / "kserve-standard.yaml")
    ingress = json.loads(patch["data"]["ingress"])
    (_, gateway) = documents(HERE / "gateway.yaml")
    name = f"{gateway['metadata']['namespace']}/{gateway['metadata']['name']}"
    assert ingress["enableGatewayApi"] is True
    assert ingress["kserveIngressGateway"] == name
    assert ingress["ingressGateway"] == name
    script = SCRIPT.read_text()
    patched = script.index("--patch-file infra/kind/kserve-standard.yaml")
    assert script.index("rollout restart deployment --namespace kserve") > patched
    assert f"ostinato-$RUNS.{ingress['ingressDomain']}" in script


def test_visitors_ask_and_click_evenly():
    """A canary is judged by its visitors, and nobody else visits a developer's cluster."""
    sys.path.insert(0, str(HERE))
    try:
        from visitors import visit
    finally:
        sys.path.remove(str(HERE))
    asked = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Host"], body))
            answer = {"predictions": [{"request_id": "r", "items": [{"item_id": "7"}]}]}
            told = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    assert visit(base, "shop.example", "u00001", click=True)
    assert visit(base, "shop.example", "u00002", click=False)
    server.shutdown()
    server.server_close()
    assert [path for path, _, _ in asked] == [
        "/v1/models/ostinato:predict",
        "/v1/feedback",
        "/v1/models/ostinato:predict",
    ]
    assert {host for _, host, _ in asked} == {"shop.example"}
    from serving.feedback.report import read_feedback

    (told,) = read_feedback(json.dumps(asked[1][2]).encode(), 10)
    assert (told.request_id, told.item_id, told.action) == ("r", "7", "click")
    assert not visit(base, "shop.example", "u00003", click=False), "nobody answers"


def told_of(service, aliases, tmp_path):
    paths = []
    for name, value in (("service", service), ("aliases", aliases)):
        paths.append(tmp_path / name)
        paths[-1].write_text(json.dumps(value))
    return subprocess.run(
        [sys.executable, HERE / "promoted.py", *paths], capture_output=True, text=True, check=False
    )


def test_only_a_promoted_candidate_passes(tmp_path):
    def served(version, **more):
        model = {"storageUri": f"s3://registry/synthetic/models/{version}"}
        return {"spec": {"predictor": {"name": version, "model": model}, **more}}

    def moved(*versions):
        history = [{"alias": "champion", "version": each} for each in versions]
        return {"champion": versions[-1], "history": history}

    first, both = moved("m-popularity"), moved("m-popularity", "m-new")
    assert told_of(served("m-new"), both, tmp_path).returncode == 0
    # Rolled back: popularity is still served, and no canary is there any more.
    told = told_of(served("m-popularity"), first, tmp_path)
    assert (told.returncode, "went back" in told.stdout) == (1, True)
    assert told_of(served("m-new"), moved("m-new", "m-x", "m-new"), tmp_path).returncode == 1
    assert told_of(served("m-popularity"), both, tmp_path).returncode == 1
    canary = [{"trafficPercent": 50}]
    assert told_of(served("m-new", canary=canary), both, tmp_path).returncode == 1
    assert told_of({"spec": {"predictor": {}}}, both, tmp_path).returncode == 1
