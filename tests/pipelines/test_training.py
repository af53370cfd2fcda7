"""The pipeline as KFP sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from pipelines.compile import COMPILED, check, compiled, write
from pipelines.steps import NEEDS
from recommender.errors import ConfigError


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(compiled()))


def tasks(node, found=None):
    """Every task of the pipeline by display name, however deep."""
    found = {} if found is None else found
    if isinstance(node, dict):
        for task in node.get("tasks", {}).values():
            found.setdefault(task["taskInfo"]["name"], []).append(task)
        for value in node.values():
            tasks(value, found)
    return found


@pytest.mark.slow
def test_the_committed_yaml_is_what_the_code_compiles_to():
    check()


@pytest.mark.slow
def test_compiling_twice_in_two_processes_gives_the_same_bytes():
    code = "from pipelines.compile import compiled; print(compiled(), end='')"
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "5", "PATH": ""},
        cwd=COMPILED.parents[2],
    )
    assert told.stdout == compiled()


def test_a_stale_yaml_is_found(tmp_path):
    path = write(tmp_path / "training.yaml")
    path.write_text(path.read_text() + "\n")
    with pytest.raises(ConfigError, match="make compile"):
        check(path)


def test_every_step_has_its_image_resources_timeout_and_retry(documents):
    spec, platform = documents
    executors = spec["deploymentSpec"]["executors"]
    kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    steps = {}
    for name, executor in executors.items():
        step = name.removeprefix("exec-").rstrip("-0123456789")
        steps.setdefault(step, []).append((executor["container"], kubernetes[name]))
    assert set(steps) == set(NEEDS)
    for step, found in steps.items():
        for container, extra in found:
            assert container["image"].startswith(f"ostinato-{step}:")
            assert container["resources"]["resourceCpuLimit"]
            assert container["resources"]["resourceMemoryLimit"]
            assert extra["activeDeadlineSeconds"] == str(NEEDS[step].minutes * 60)
    assert steps["train"][0][0]["resources"]["accelerator"]["resourceCount"] == "1"
    for step, found in tasks(spec).items():
        if step in NEEDS:
            for task in found:
                assert task["retryPolicy"]["maxRetryCount"] == NEEDS[step].retries


def test_only_the_pure_step_may_be_cached(documents):
    for step, found in tasks(documents[0]).items():
        if step in NEEDS:
            for task in found:
                cached = task["cachingOptions"].get("enableCache", False)
                assert cached is NEEDS[step].cache


def test_a_candidate_that_fails_the_gate_is_registered_and_never_deployed(documents):
    branches = [
        component["dag"]["tasks"]
        for name, component in documents[0]["components"].items()
        if name.startswith("comp-condition-") and "branches" not in name
    ]
    inside = sorted(sorted(task["taskInfo"]["name"] for task in b.values()) for b in branches)
    assert inside == [["deploy", "register"], ["register"]]


def test_no_secret_is_a_parameter(documents):
    asked = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert set(asked) == {"config", "run_id", "workspace"}


def test_every_step_works_in_the_workspace_and_only_stores_users_know_their_passwords(documents):
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, told in executors.items():
        (volume,) = told["pvcMount"]
        assert volume["mountPath"] == "/var/lib/ostinato"
        assert volume["pvcNameParameter"]["componentInputParameter"].endswith("workspace")
        assert "/tmp" in [each["mountPath"] for each in told["emptyDirMounts"]]
        secrets = {pair["envVar"] for each in told["secretAsEnv"] for pair in each["keyToEnv"]}
        opens = name.removeprefix("exec-") in {"ingest", "materialize", "deploy"}
        assert ("OSTINATO_REDIS" in secrets) is opens
        assert "OSTINATO_PSEUDONYM_KEY" not in secrets
        (settings,) = told["configMapAsEnv"]
        assert settings["optional"] is True
