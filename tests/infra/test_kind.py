"""The developer's cluster: a script that shellcheck has nothing to say about, valid manifests.

The cluster itself is not started here: that takes Docker and a network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
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
    assert not re.search(r"(latest|:v?\d+\.\d+)", script)


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
    assert read == {made["ConfigMap"]["metadata"]["name"]}
    buckets = {config.registry.location, config.serving.log.location}
    buckets.add(made["ConfigMap"]["data"]["OSTINATO_OFFLINE"])
    for location in buckets:
        assert f"here/{location.split('/')[2]}" in script


@pytest.mark.parametrize("each", documents(HERE / "e2e-surroundings.yaml"), ids=lambda d: d["kind"])
def test_the_surroundings_of_the_run_fit_their_schemas(each):
    kubernetes_validate.validate(each, "1.33", strict=True)
