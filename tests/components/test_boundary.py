"""The edge of a step: what is recorded, and how a user's mistake ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.boundary import running
from components.outcome.step import run as record_outcome
from recommender.config import Config, parse
from recommender.errors import ConfigError, SourceError, StorageError
from recommender.files import read_json
from recommender.progress import VARIABLE


@pytest.fixture
def config(tmp_path: Path) -> Config:
    tree = {
        "name": "tiny",
        "workspace": str(tmp_path),
        "source": {"kind": "synthetic"},
        "actions": {"types": ["click"]},
    }
    return parse(tree, "this test")


def record(config: Config, step: str):
    return read_json(config.paths.run("r1") / "steps" / f"{step}.json")


def test_a_step_that_ends_well_leaves_its_figures_and_its_summary(config):
    with running("ingest", config.to_json(), "r1") as step:
        step.summary["rows"] = 3
    told = record(config, "ingest")
    assert (told["status"], told["summary"]) == ("succeeded", {"rows": 3})
    assert told["seconds"] >= 0
    assert told["peak_memory_mb"] > 1


def test_a_users_mistake_ends_with_its_message_and_no_trace(config):
    with pytest.raises(SystemExit) as stopped, running("ingest", config.to_json(), "r1"):
        raise SourceError("ratings.csv lacks the column userId", "map it in source.events")
    assert str(stopped.value) == (
        "ingest: ratings.csv lacks the column userId\n  → map it in source.events"
    )
    assert stopped.value.__suppress_context__
    assert record(config, "ingest")["status"] == "failed"


def fail(config: Config, error: Exception) -> None:
    with pytest.raises(SystemExit), running("ingest", config.to_json(), "r1"):
        raise error


def test_a_retry_of_a_users_mistake_ends_at_once_with_the_same_message(config):
    fail(config, SourceError("wrong column"))
    with pytest.raises(SystemExit, match="wrong column"), running("ingest", config.to_json(), "r1"):
        pytest.fail("the step must not run again")


def test_trouble_that_may_pass_is_tried_again(config):
    fail(config, StorageError("timeout"))
    with running("ingest", config.to_json(), "r1"):
        pass
    assert record(config, "ingest")["status"] == "succeeded"


def test_a_defect_of_ours_keeps_its_trace_and_is_recorded_as_a_crash(config):
    with pytest.raises(ZeroDivisionError), running("train", config.to_json(), "r1"):
        _ = 1 / 0
    assert record(config, "train")["status"] == "crashed"


def test_ctrl_c_is_recorded_as_an_interruption(config):
    with pytest.raises(SystemExit, match="interrupted"), running("train", config.to_json(), "r1"):
        raise KeyboardInterrupt
    assert record(config, "train")["status"] == "interrupted"


def test_a_step_announces_itself_to_whoever_waits(config, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "progress.jsonl"))
    with running("train", config.to_json(), "r1"):
        pass
    lines = (tmp_path / "progress.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": "train"}


def test_a_wrong_configuration_names_the_key():
    with pytest.raises(ConfigError, match=r"actions: missing"), running("x", '{"name": "a"}', "r"):
        pass


def test_the_outcome_names_the_step_that_failed_in_its_own_words(config):
    with running("ingest", config.to_json(), "r1"):
        pass
    with pytest.raises(SystemExit), running("validate", config.to_json(), "r1"):
        raise SourceError("no events")
    record_outcome(config.to_json(), "r1", "FAILED", "Task exit-handler-1 failed.")
    outcome = read_json(config.paths.run("r1") / "outcome.json")
    assert outcome["failed_step"] == "validate"
    assert outcome["error"] == "no events"
    assert set(outcome["seconds_in_steps"]) == {"ingest", "validate"}
