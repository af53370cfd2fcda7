"""The tuning pipeline as KFP sees it, and what people are told."""

from __future__ import annotations

import io

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.compile import FOLDER, check, compiled
from pipelines.run import Run
from pipelines.steps import NEEDS
from pipelines.tuned import show
from recommender.files import read_json, write_json


@pytest.fixture(scope="module")
def documents():
    return list(yaml.load_all(compiled("tuning"), yaml.CSafeLoader))


@pytest.mark.slow
def test_the_committed_yaml_is_what_the_code_compiles_to():
    check(FOLDER / "tuning.yaml")


def test_workers_are_tasks_of_a_loop_outside_of_any_exit_handler(documents):
    spec, _ = documents
    tasks = spec["root"]["dag"]["tasks"]
    (loop,) = [each for each in tasks.values() if "parameterIterator" in each]
    assert loop["parameterIterator"]["items"] == {"inputParameter": "pipelinechannel--seats-Output"}
    assert not any("exit-handler" in name for name in spec["components"])
    # The best is told when all workers have ended.
    (last,) = [each for each in tasks.values() if each["taskInfo"]["name"] == "tuned"]
    assert loop["componentRef"]["name"].removeprefix("comp-") in last["dependentTasks"]


def test_a_worker_has_what_the_train_step_has(documents):
    executors = documents[0]["deploymentSpec"]["executors"]
    container = executors["exec-tune"]["container"]
    assert container["image"].startswith("ostinato-train:")
    assert container["resources"]["resourceCpuRequest"] == str(NEEDS["train"].cpu)


def test_the_best_settings_can_be_typed(tmp_path):
    trials = [
        {"number": 0, "state": "complete", "value": 0.1, "settings": {"model.dropout": 0.2}},
        {"number": 1, "state": "pruned", "value": None, "settings": {"model.dropout": 0.5}},
        {"number": 2, "state": "complete", "value": 0.2, "settings": {"model.dropout": 0.1}},
    ]
    for each in trials:
        each["epochs"] = 3
    write_json(tmp_path / "tuning.json", {"study": "s", "best": trials[2], "trials": trials})
    assert read_json(tmp_path / "tuning.json")["best"]["number"] == 2
    said = io.StringIO()
    show(Run("r", tmp_path, 1.0, {}), Console(file=said, width=200), "ostinato run")
    assert "ostinato run --set model.dropout=0.1" in said.getvalue()
    assert "3 trials of s, 1 ended early" in said.getvalue()
    assert "none is the configured one" in said.getvalue()
    write_json(
        tmp_path / "tuning.json",
        {
            "study": "s",
            "best": trials[2],
            "trials": [*trials[:2], trials[2] | {"configured": True}],
        },
    )
    show(Run("r", tmp_path, 1.0, {}), Console(file=said, width=200), "ostinato run")
    assert "trial 2 is the configured one" in said.getvalue()


def test_the_command_names_a_wrong_key():
    told = CliRunner().invoke(app, ["tune", "--set", "tuning.trails=3"])
    assert told.exit_code
    assert "tuning.trails" in str(told.exception)
