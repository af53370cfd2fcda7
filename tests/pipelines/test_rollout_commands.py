"""`ostinato rollout …` on real states: what it shows, what it refuses, what it writes down."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from recommender.config.rollout import RolloutConfig
from recommender.errors import RolloutError
from serving.rollout import intent
from serving.rollout.analysis import Analysis
from serving.rollout.guardrails import Figures, Finding, Verdict
from serving.rollout.plan import live_plan
from serving.rollout.records import Arm
from serving.rollout.state import Phase, Rollouts, State

CONFIG = "configs/synthetic.yaml"
STABLE, CANDIDATE = "m-000000000001", "m-000000000002"


def ostinato(workspace: Path, *words: str, ok: bool = True) -> str:
    told = CliRunner().invoke(
        app, ["rollout", *words, "-c", CONFIG, "-w", str(workspace)], catch_exceptions=True
    )
    if ok and told.exception and not isinstance(told.exception, SystemExit):
        raise told.exception
    return told.output


@pytest.fixture
def rollouts(tmp_path: Path) -> Rollouts:
    return Rollouts(tmp_path / "serving" / "rollouts")


def judged(state: State, verdict: Verdict, reason: str) -> State:
    finding = Finding("errors", verdict, reason, {"candidate": 0.1, "limit": 0.01})
    figures = {arm: Figures(50, 1, 5, 50, 0, 4.0, 9.0, 80) for arm in Arm}
    return state.judged(Analysis(verdict, reason, (finding,), figures))


@pytest.fixture
def going(rollouts: Rollouts) -> State:
    """A rollout on live traffic in its first step."""
    config = RolloutConfig(traffic="live", soak_s=(600.0,))
    state = rollouts.begin(CANDIDATE, STABLE, "f", live_plan(config), "live")
    state = state.moved(Phase.STEPPING, "5 %, soak 600 s")
    state = judged(state, Verdict.PROMOTE, "0 of 80 requests of the candidate failed")
    rollouts.save(state)
    return state


def test_the_help_teaches() -> None:
    told = CliRunner().invoke(app, ["rollout", "--help"]).output
    for word in ("start", "status", "promote", "abort", "history", "report", "no data"):
        assert word in " ".join(told.split())


def test_where_there_was_no_rollout_it_says_how_to_begin_one(tmp_path: Path) -> None:
    assert "no rollout yet" in ostinato(tmp_path, "history")
    for command in (["status"], ["abort", "-r", "why"], ["promote", "-r", "why"]):
        with pytest.raises(RolloutError) as told:
            ostinato(tmp_path, *command)
        assert "rollout" in told.value.hint


def test_status_shows_the_step_the_guardrails_and_who_drives(
    tmp_path: Path, rollouts: Rollouts, going: State
) -> None:
    told = ostinato(tmp_path, "status")
    for words in (CANDIDATE, STABLE, "stepping", "5 %", "0 of 80 requests", "nobody drives it"):
        assert words in told
    with rollouts.locked():
        assert "nobody drives it" not in ostinato(tmp_path, "status")
    told = json.loads(ostinato(tmp_path, "status", "--json"))
    assert told["phase"] == "stepping"
    assert told["driven"] is False


def test_history_lists_all_of_them(tmp_path: Path, rollouts: Rollouts, going: State) -> None:
    rollouts.save(going.moved(Phase.ROLLED_BACK, "over"))
    rollouts.begin("m-000000000003", STABLE, "g", going.plan, "live")
    told = ostinato(tmp_path, "history")
    assert CANDIDATE[:8] in told
    assert len(json.loads(ostinato(tmp_path, "history", "--json"))) == 2


def test_a_promotion_past_proof_of_harm_is_refused_and_leaves_nothing(
    tmp_path: Path, rollouts: Rollouts, going: State
) -> None:
    rollouts.save(judged(going, Verdict.ROLL_BACK, "sample-ratio mismatch: the split is broken"))
    with pytest.raises(RolloutError, match="sample-ratio mismatch") as told:
        ostinato(tmp_path, "promote", "--reason", "I want it")
    assert "--force" in told.value.hint
    assert intent.heard(rollouts.of(going)) is None


def test_a_word_reaches_the_driver_of_another_process(
    tmp_path: Path, rollouts: Rollouts, going: State
) -> None:
    """Here the test is the driver: it holds the lock, hears, and ends the rollout."""
    heard: list[intent.Intent] = []

    def drive() -> None:
        with rollouts.locked():
            holding.set()
            while not (said := intent.heard(rollouts.of(going))):
                told.wait(0.02)
            heard.append(said)
            rollouts.save(going.moved(Phase.ROLLED_BACK, "aborted by hand: wrong data"))
            intent.forget(rollouts.of(going))

    holding, told = threading.Event(), threading.Event()
    driver = threading.Thread(target=drive)
    driver.start()
    holding.wait()
    words = ["abort", "--reason", "wrong data", "-c", CONFIG, "-w", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "rollout", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    driver.join()
    assert ended.returncode == 0, ended.stderr
    assert "rolled back: aborted by hand: wrong data" in ended.stdout
    assert (heard[0].action, heard[0].reason) == (intent.Action.ABORT, "wrong data")


def test_the_page_can_be_written_at_any_time(tmp_path: Path, going: State) -> None:
    told = ostinato(tmp_path, "report", "--out", str(tmp_path / "page.html"))
    assert "page.html" in told.replace("\n", "")
    page = (tmp_path / "page.html").read_text()
    assert "It has not come to an end yet." in page
    assert CANDIDATE in page
