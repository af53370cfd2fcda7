"""`ostinato forget` as a person meets it, and who has to wait for whom."""

from __future__ import annotations

import fcntl
import json
import threading
import time

import pytest
from typer.testing import CliRunner

from feature_repo.store import taking_turns
from pipelines.cli import app
from pipelines.forget.work import NotForgottenError, UnknownUserError, find, forget, nobody_else
from recommender.errors import ConfigError, RolloutError, UserError
from recommender.forgetting.suppression import Suppressions
from recommender.registry import Registry
from serving.rollout.release import rollouts_of

USER, OTHER = "u00003", "u00004"


@pytest.fixture
def ostinato(world, tmp_path):
    """The command line on this workspace."""
    file = tmp_path / "config.yaml"
    file.write_text(world.config.to_json())  # JSON is YAML

    def call(*words: str):
        return CliRunner().invoke(app, [*words, "--config", str(file)])

    return call


def test_the_command_asks_before_and_tells_afterwards(world, ostinato):
    assert "retrain" not in ostinato("status").output
    refused = ostinato("forget", USER)
    assert isinstance(refused.exception, UserError)
    assert "--yes" in refused.exception.hint
    assert isinstance(ostinato("forget", USER, "--json").exception, UserError)
    assert isinstance(ostinato("forget", USER, "--verify").exception, NotForgottenError)
    assert not Suppressions(world.config.paths).is_suppressed(USER)
    told = ostinato("forget", USER, "--yes")
    assert told.exit_code == 0, told.output
    for words in ("online store", "data versions", "proved", "marked", world.model, "not seen"):
        assert words in told.output
    assert world.pseudonym(USER) not in told.output
    again = ostinato("forget", USER, "--yes", "--json")
    certificate = json.loads(again.output)
    assert certificate["proved"]
    assert certificate["removed"]["online store"]["records"] > 0, "of the first time"
    assert certificate["scan"]["traces"] == 0
    assert "nothing of" in ostinato("forget", USER, "--verify").output
    assert isinstance(ostinato("forget", "nobody", "--yes").exception, UnknownUserError)


def test_status_says_that_the_champion_saw_somebody(world, ostinato):
    Registry.of(world.config.paths).promote(world.model)
    ostinato("forget", USER, "--yes")
    assert "saw a user who has asked to be forgotten" in ostinato("status").output
    ostinato("forget", OTHER, "--yes")
    assert "saw 2 users who have asked" in ostinato("status").output


def test_a_workspace_that_is_not_there_is_said_so(world, ostinato):
    told = ostinato("forget", USER, "--yes", "--workspace", str(world.root / "nowhere"))
    assert "does not exist" in str(told.exception)
    assert not (world.root / "nowhere").exists()


def test_an_unknown_user_is_said_to_be_unknown_and_nothing_happens(world):
    with pytest.raises(UnknownUserError, match="nothing about the user 'nobody'"):
        forget(world.config, "nobody")
    assert not Suppressions(world.config.paths).is_suppressed("nobody")
    told = forget(world.config, "nobody", unknown_too=True)
    assert told.proved
    assert not any(told.removed.values())
    assert told.models == ()
    assert Suppressions(world.config.paths).is_suppressed("nobody")


def test_it_waits_for_nobody_who_is_at_work_but_says_so(world):
    with (world.root / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another run is at work"):
            forget(world.config, USER)
    with rollouts_of(world.config).locked(), pytest.raises(RolloutError, match="drives a rollout"):
        forget(world.config, USER)
    with nobody_else(world.config), pytest.raises(ConfigError, match="another run"):
        forget(world.config, USER)
    assert not Suppressions(world.config.paths).is_suppressed(USER)


def test_it_waits_for_a_publication(world):
    waited = []

    def publish() -> None:
        with taking_turns(world.config.paths):
            publishing.set()
            time.sleep(0.5)
            waited.append("published")

    publishing = threading.Event()
    publisher = threading.Thread(target=publish)
    publisher.start()
    publishing.wait()
    forget(world.config, USER, after_each=waited.append)
    publisher.join()
    assert waited[0] == "published"


def test_looking_only_changes_nothing_and_finds_them(world):
    before = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    found = find(world.config, USER)
    assert len(found.scan.traces) > 20
    assert found.since is None
    same = {path: path.read_bytes() for path in world.root.rglob("*") if path.is_file()}
    assert same.keys() == before.keys()
    forget(world.config, USER)
    assert find(world.config, USER).scan.clean
    assert find(world.config, USER).since
