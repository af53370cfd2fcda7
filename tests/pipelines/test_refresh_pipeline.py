"""The refresh pipeline as KFP sees it, and its way to a backend."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.backend.connection import connect
from pipelines.backend.schedule import apply, diff
from pipelines.backend.submit import submit
from pipelines.cli import app
from pipelines.compile import COMPILED, FOLDER, PIPELINES, check, compiled, for_pipeline
from recommender.config import Config, load
from recommender.config.backend import ScheduleConfig
from recommender.errors import ConfigError

sys.path.append(str(Path(__file__).parent / "backend"))
from kfp_server import KfpServer

SYNTHETIC = Path(__file__).parents[2] / "configs" / "synthetic.yaml"
REFRESH = FOLDER / "refresh.yaml"
QUICK = {"backend.attempts": 2, "backend.pause_s": 0.01, "backend.poll_s": 0.01}


@pytest.fixture(scope="module")
def documents():
    """Of the training as committed, which has a test of its own, and of the refresh as compiled."""
    texts = {"training": COMPILED.read_text(), "refresh": compiled("refresh")}
    return {name: list(yaml.load_all(text, yaml.CSafeLoader)) for name, text in texts.items()}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OSTINATO_KFP_TOKEN", raising=False)
    with KfpServer() as running:
        yield running


def executors(document) -> dict[str, dict]:
    """The image and resources of every step, by the component's name."""
    found = document["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): each["container"] for name, each in found.items()}


def dag(document) -> dict:
    """The tasks inside the exit handler, by display name."""
    (inside,) = (
        each["dag"]["tasks"]
        for name, each in document["components"].items()
        if name.startswith("comp-exit-handler")
    )
    return {task["taskInfo"]["name"]: task for task in inside.values()}


def test_the_committed_yaml_is_what_the_code_compiles_to(documents):
    committed = list(yaml.load_all(REFRESH.read_text(), yaml.CSafeLoader))
    assert committed == documents["refresh"]
    assert set(PIPELINES) == {path.stem for path in FOLDER.glob("*.yaml")}


def test_all_but_two_steps_are_those_of_the_training_to_the_byte(documents):
    training, refresh = (executors(documents[name][0]) for name in ("training", "refresh"))
    assert refresh.keys() - training.keys() == {"champion", "refresh"}
    assert training.keys() - refresh.keys() == {"train"}
    for name in refresh.keys() & training.keys():
        assert refresh[name] == training[name], name
    # No image and no right is needed that the training's steps don't have.
    assert refresh["champion"]["image"] == training["register"]["image"]
    assert refresh["refresh"]["image"] == training["train"]["image"]


def test_nothing_begins_before_there_is_a_champion(documents):
    tasks = dag(documents["refresh"][0])
    assert tasks["ingest"]["dependentTasks"] == ["champion"]
    needed = tasks["refresh"]["inputs"]["artifacts"]
    assert needed["champion"]["taskOutputArtifact"]["producerTask"] == "champion"
    assert needed["dataset"]["taskOutputArtifact"]["producerTask"] == "materialize"
    judged = tasks["evaluate"]["inputs"]["artifacts"]["model"]["taskOutputArtifact"]
    assert judged["producerTask"] == "refresh"


def test_a_refresh_is_run_with_one_cut_and_a_training_as_configured():
    config = load(SYNTHETIC, {"split.folds": 3})
    assert for_pipeline("refresh", config).split.folds == 1
    assert for_pipeline("training", config) == config


def test_a_refresh_is_another_run_than_a_training_of_the_same_data(server):
    config = load(SYNTHETIC, {**QUICK, "backend.host": server.url})
    trained = submit(connect(config), config)
    refreshed = submit(connect(config), config, package=REFRESH)
    assert trained.run_id != refreshed.run_id
    assert not submit(connect(config), config, package=REFRESH).created
    names = {each["display_name"] for each in server.pipelines.values()}
    assert names == {"ostinato-training", "ostinato-refresh"}


def test_the_command_submits_a_refresh_with_one_cut(server):
    words = ["submit", "-c", str(SYNTHETIC), "--pipeline", "refresh", "--no-wait"]
    settings = {**QUICK, "backend.host": server.url, "split.folds": 3}
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    (run,) = server.runs.values()
    sent = Config.from_json(run["runtime_config"]["parameters"]["config"])
    assert sent.split.folds == 1
    wrong = CliRunner().invoke(app, ["submit", "--pipeline", "refreshing"])
    assert wrong.exit_code == 2


def test_a_schedule_says_which_pipeline_runs(server):
    every = {"nightly": {"cron": "0 30 2 * * *", "pipeline": "refresh"}}
    config = load(
        SYNTHETIC,
        {**QUICK, "backend.host": server.url, "split.folds": 3, "backend.schedules": every},
    )
    apply(connect(config), config)
    assert {each["display_name"] for each in server.pipelines.values()} == {"ostinato-refresh"}
    (recurring,) = server.recurring.values()
    sent = Config.from_json(recurring["runtime_config"]["parameters"]["config"])
    assert sent.split.folds == 1
    assert [change.doing for change in diff(connect(config), config)] == ["keep"]
    weekly = {"nightly": {"cron": "0 30 2 * * *"}}
    other = load(SYNTHETIC, {**QUICK, "backend.host": server.url, "backend.schedules": weekly})
    assert [change.doing for change in diff(connect(other), other)] == ["replace"]
    assert ScheduleConfig(cron="0 30 2 * * *").pipeline == "training"


def test_a_stale_yaml_of_a_refresh_is_found(tmp_path):
    stale = tmp_path / "refresh.yaml"
    stale.write_text(REFRESH.read_text() + "\n")
    with pytest.raises(ConfigError, match="make compile"):
        check(stale)
