"""Studies in a database (`tuning.storage: url`): who reads them has the secret, driver and way."""

from __future__ import annotations

import pytest
import yaml
from image_contents import images, packages
from rendered import ROOT, of_kind, selects

from pipelines.backend.step_resources import uploaded
from pipelines.cluster_parameters import STEP_LABEL
from pipelines.steps import NEEDS
from recommender.config import load

READERS = {"exec-tune", "exec-conclude"}


@pytest.fixture(scope="module")
def compiled():
    text = (ROOT / "pipelines" / "compiled" / "tuning.yaml").read_text()
    return list(yaml.load_all(text, yaml.CSafeLoader))


def pods_of(platform):
    return platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_workers_and_who_concludes_have_the_secret_and_nobody_else(compiled):
    pods = pods_of(compiled[1])
    reading = {
        name
        for name, pod in pods.items()
        if any(secret["secretName"] == "ostinato-tuning" for secret in pod["secretAsEnv"])
    }
    assert reading == READERS
    assert {pods[name]["podMetadata"]["labels"][STEP_LABEL] for name in READERS} == {"train"}


def test_who_concludes_asks_for_no_gpu_whatever_is_configured(compiled):
    asked = compiled[0]["deploymentSpec"]["executors"]
    resources = asked["exec-conclude"]["container"]["resources"]
    assert "accelerator" not in resources
    assert resources["resourceCpuRequest"] == str(NEEDS["evaluate"].cpu)
    config = load(ROOT / "configs" / "synthetic.yaml", {"backend.train.gpus": 2})
    text = uploaded(ROOT / "pipelines" / "compiled" / "tuning.yaml", config)
    executors = next(yaml.safe_load_all(text))["deploymentSpec"]["executors"]
    assert executors["exec-conclude"]["container"]["resources"] == resources
    accelerator = executors["exec-tune"]["container"]["resources"]["accelerator"]
    assert accelerator["resourceCount"] == "2"


def test_their_image_speaks_to_postgresql(compiled):
    for name in READERS:
        image = compiled[0]["deploymentSpec"]["executors"][name]["container"]["image"]
        step = image.split(":")[0].removeprefix("ostinato-")
        assert {"optuna", "sqlalchemy", "psycopg"} <= set(packages(images()[step].extras))


@pytest.mark.may_skip
@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_they_reach_the_database(environment):
    labels = {STEP_LABEL: "train"}
    ports = {
        port["port"]
        for policy in of_kind(environment, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("egress", [])
        for port in rule.get("ports", [])
    }
    assert 5432 in ports
    assert 6379 not in ports
