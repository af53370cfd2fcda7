"""Every image's environment, made from the lock, and what runs in the image run with it alone.

Each is a virtual environment with the extras that the Dockerfile names for that image. The
pipelines (training, refresh, tuning) then run by the commands that KFP's launcher starts in pods,
every step with the interpreter of its own image's environment. Needs a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from image_contents import images, locked, packages
from packaging.utils import canonicalize_name
from rendered import ROOT

from pipelines.steps import NEEDS
from recommender.config import load
from recommender.registry import Registry
from recommender.registry.decisions import Decision, Status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
"""The time is for the first test, which waits for every image's packages."""

TINY = {
    "name": "tiny",
    "source": {"kind": "synthetic", "users": 400, "items": 100, "days": 50, "sessions_per_user": 6},
    "actions": {
        "types": ["impression", "click", "purchase"],
        "history": ["click", "purchase"],
        "success": ["click"],
        "exclude_seen": False,
    },
    "model": {"width": 32, "history": 30},
    "training": {"epochs": 1, "patience": 1, "threads": 1},
    "features": {"history_limit": 60, "text": {"threads": 1}},
    # The first cut leaves something to refresh with.
    "split": {"test_share": 0.25},
    "refresh": {"method": "lora"},
    "tuning": {"trials": 2, "workers": 2},
    # So few users decide nothing: the candidate is registered as rejected, and nothing is deployed.
    "evaluation": {
        "resamples": 200,
        # One that reads words, and one that encodes them.
        "rivals": ["popularity", "recent-popularity", "behaviour-gpt", "behaviour-text"],
        "neural": {"width": 16, "layers": 1, "epochs": 1, "patience": 1},
        "requests_per_user": 2,
        "gate": {"minimum_users": 1000000, "must_match": []},
    },
}

# KFP's local runner takes one interpreter for all steps; a pod has its image's own.
_RUN = """
import sys
from pathlib import Path
from kfp.local import subprocess_task_handler as local

def run(self):
    step = self.image.split(":")[0].removeprefix("ostinato-")
    python = Path(ENVIRONMENTS) / step / "bin" / "python"
    command = local.replace_python_executable(self.full_command, str(python))
    code = local.run_local_subprocess(full_command=command, env_vars=self.env_vars)
    return local.status.Status.SUCCESS if code == 0 else local.status.Status.FAILURE

local.SubprocessTaskHandler.run = run
from pipelines.cli import main
main()
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment per image; packages are linked from the installer's cache."""
    folder = tmp_path_factory.mktemp("images")
    for name, image in images().items():
        python = folder / name / "bin" / "python"
        extras = [word for extra in image.extras for word in ("--extra", extra)]
        _uv("venv", "--python", sys.executable, folder / name)
        links = os.environ.get("PIP_FIND_LINKS")  # where a machine's own build of torch lies
        _uv(
            *("pip", "install", "--python", python, "-c", "requirements.lock"),
            *(["--find-links", links] if links else []),
            *("-r", "pyproject.toml", *extras),
        )
    return folder


def _uv(*words: object) -> str:
    program = Path(sys.executable).with_name("uv")
    told = subprocess.run(
        [str(program), *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def _python(environments: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(environments / name / "bin" / "python"), *words],
        cwd=environments,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", sorted(images()))
def test_an_image_gets_what_was_foreseen_at_the_versions_of_the_lock(environments, name):
    python = environments / name / "bin" / "python"
    found = json.loads(_uv("pip", "list", "--python", python, "--format", "json"))
    versions = {canonicalize_name(each["name"]): each["version"] for each in found}
    assert set(packages(images()[name].extras)) <= set(versions)
    for package, version in versions.items():
        assert version.split("+")[0] == locked().get(package), package


@pytest.mark.parametrize("name", sorted(images()))
def test_what_an_image_runs_can_be_imported_with_its_own_packages(environments, name):
    code = "; ".join(f"import {module}" for module in images()[name].modules)
    told = _python(environments, name, "-c", code)
    assert told.returncode == 0, told.stderr


def piped(environments: Path, config: Path, command: str, *words: str) -> Path:
    """Run a pipeline with every step in its image's environment; return the run's folder."""
    run = f"by-{command}"
    code = _RUN.replace("ENVIRONMENTS", repr(str(environments)))
    told = subprocess.run(
        [sys.executable, "-c", code, command, "--config", str(config), "--run-id", run, *words],
        cwd=config.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return config.parent / "state" / "runs" / run


def steps_of(run: Path) -> dict[str, dict]:
    """Return the records of a run's steps, by their names."""
    return {each.stem: json.loads(each.read_text()) for each in (run / "steps").glob("*.json")}


@pytest.fixture(scope="module")
def trained(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration, and the run of the training pipeline that it asked for."""
    folder = tmp_path_factory.mktemp("trained")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({**TINY, "workspace": str(folder / "state")}))
    return config, piped(environments, config, "run")


def test_the_pipeline_runs_with_every_step_in_its_own_environment(trained):
    _, run = trained
    assert set(steps_of(run)) == set(NEEDS) - {"deploy"}
    assert json.loads((run / "outcome.json").read_text())["state"] == "SUCCEEDED"


def test_a_champion_is_refreshed_with_every_step_in_its_own_environment(environments, trained):
    config, run = trained
    registry = Registry.configured(load(config))
    version = steps_of(run)["register"]["summary"]["version"]
    # What so few users can't decide is decided here: a refresh begins with a champion.
    passed = Decision("by-hand", Status.PASSED)
    champion = registry.register(registry.fetch(version), registry.lineage(version), passed)
    registry.promote(champion)
    refreshed = piped(environments, config, "refresh", "--set", "split.test_share=0.1")
    steps = steps_of(refreshed)
    assert set(steps) == (set(NEEDS) - {"deploy", "train"}) | {"champion", "refresh"}
    newer = registry.fetch(steps["register"]["summary"]["version"])
    assert (newer / "adapter" / "adapter_model.safetensors").exists()


def test_settings_are_searched_with_every_step_in_its_own_environment(environments, trained):
    config, _ = trained
    run = piped(environments, config, "tune")
    assert {"tune-0", "tune-1", "tuned"} <= set(steps_of(run))
    assert len(json.loads((run / "tuning.json").read_text())["trials"]) == 2


def test_drift_is_looked_for_in_the_triggers_image(environments, tmp_path):
    code = (
        "from pathlib import Path; from recommender.config import parse;"
        "from recommender.sources.versions import ingest;"
        "from recommender.quality.accepted import Accepted, accept;"
        "from recommender.quality.statistics import Statistics;"
        "from recommender.tables import Tables; from pipelines.triggers.signals import drifted;"
        "import sys, json; tree = json.loads(sys.argv[1]); config = parse(tree, 'here');"
        "version = ingest(config);"
        "statistics = Statistics.of(Tables.read(version.folder), config.actions);"
        "accept(config.paths.data, Accepted(version.name, '2026-01-01', statistics));"
        "tree['source']['users'] = 350; print(drifted(parse(tree, 'here'), print))"
    )
    tree = json.dumps({**TINY, "workspace": str(tmp_path)})
    told = _python(environments, "triggers", "-c", code, tree)
    assert told.returncode == 0, told.stderr
    assert "popularity" in told.stdout
