"""Jobs that people start once: keys before the first model, live features after a loss."""

from __future__ import annotations

import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from image_contents import distributions_of, images, imported, packages
from rendered import KUSTOMIZE, OVERLAYS, ROOT, of_kind, selects

from components.images import VERSION
from pipelines.cluster_parameters import STEP_LABEL, WORKSPACE, claim_of
from recommender.config import load, parse

WHAT = ["keys", "publish"]
ONCE = KUSTOMIZE / "once.py"


def made(environment: str, what: str, *more: str) -> dict:
    told = subprocess.run(
        [sys.executable, ONCE, environment, what, *more], capture_output=True, text=True, check=True
    )
    return yaml.safe_load(told.stdout)


def container_of(job: dict) -> dict:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("environment", OVERLAYS)
def test_a_job_has_image_configuration_and_claim_of_the_environments_runs(environment, what):
    config = load(KUSTOMIZE / "overlays" / environment / "config.yaml")
    job = made(environment, what)
    container = container_of(job)
    kubernetes_validate.validate(
        {**job, "metadata": {"name": what, "namespace": "x"}}, "1.33", strict=True
    )
    step = job["spec"]["template"]["metadata"]["labels"][STEP_LABEL]
    wanted = config.backend.images.get(f"ostinato-{step}", f"ostinato-{step}:{VERSION}")
    assert container["image"] == wanted
    assert job["metadata"]["namespace"] == (config.backend.namespace or "ostinato")
    assert parse(yaml.safe_load(container["args"][0]), "test") == config
    (claim,) = (
        each["persistentVolumeClaim"]["claimName"]
        for each in job["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    )
    assert claim == claim_of(config)
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["workspace"] == WORKSPACE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("what", WHAT)
def test_the_image_of_a_job_can_run_what_it_is_asked(what):
    container = container_of(made("prod", what))
    image = images()[container["image"].split("@")[0].removeprefix("ostinato-")]
    have = set(packages(image.extras))

    def missing(*modules):
        return {each for each in imported(modules) if not distributions_of(each) & have}

    # What its step can do without (test_images says why), and downloads, which are ingest's.
    left = missing(container["command"][-1]) - missing(*image.modules)
    assert left <= {"pooch"}


@pytest.mark.may_skip
def test_a_publication_reaches_the_stores():
    pod = made("prod", "publish")["spec"]["template"]
    ports = {
        port["port"]
        for policy in of_kind("prod", "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], pod["metadata"]["labels"])
        for rule in policy["spec"].get("egress", [])
        for port in rule.get("ports", [])
    }
    assert ports >= {443, 5432, 6379}


def test_a_publication_has_the_secrets_of_the_step_whose_image_it_has():
    text = (ROOT / "pipelines" / "compiled" / "training.yaml").read_text()
    _, platform = yaml.load_all(text, yaml.CSafeLoader)
    step = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-materialize"]
    wanted = {
        variable["envVar"]: (secret["secretName"], variable["secretKey"])
        for secret in step["secretAsEnv"]
        for variable in secret["keyToEnv"]
    }
    given = {
        each["name"]: tuple(each["valueFrom"]["secretKeyRef"][part] for part in ("name", "key"))
        for each in container_of(made("prod", "publish"))["env"]
    }
    assert given == wanted


def test_the_data_version_before_can_be_named():
    assert container_of(made("prod", "publish", "--data", "d-1"))["args"][1] == "d-1"


def test_keys_are_made_once_and_the_public_one_is_printed(tmp_path):
    config = yaml.safe_dump(
        {
            "name": "shop",
            "workspace": str(tmp_path),
            "source": {"kind": "synthetic"},
            "actions": {"types": ["click"], "success": ["click"]},
        }
    )
    command = [sys.executable, *container_of(made("dev", "keys"))["command"][1:], config]
    told = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert told[0].startswith("-----BEGIN PUBLIC KEY-----")
    assert told[0] == told[1]
    (public,) = tmp_path.rglob("*.pub")
    assert public.read_text() == told[0]
    private = [each for each in public.parent.iterdir() if each != public]
    assert private
    assert not any(each.stat().st_mode & 0o077 for each in private)
