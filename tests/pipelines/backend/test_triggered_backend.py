"""Triggered runs on a pipelines backend: submitted once, whoever asks again."""

from __future__ import annotations

from pathlib import Path

import pytest
from kfp_server import KfpServer

from pipelines.triggers.book import UNREFRESHED, Book, TriggeredRun
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.keeper import Keeper
from pipelines.triggers.places import There
from recommender.config import Config, load

SYNTHETIC = Path(__file__).parents[3] / "configs" / "synthetic.yaml"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OSTINATO_KFP_TOKEN", raising=False)
    with KfpServer() as running:
        yield running


def config_for(server: KfpServer, **settings: object) -> Config:
    quick = {"backend.attempts": 2, "backend.pause_s": 0.01, "triggers.launch": "backend"}
    return load(SYNTHETIC, {**quick, "backend.host": server.url, **settings})


def run_of(*causes: Cause, handle: str = "") -> TriggeredRun:
    return TriggeredRun("r", 0, "STARTING", handle, causes)


def test_the_same_causes_are_one_run_and_other_causes_another(server):
    place = There(config_for(server))
    landed, drift = Cause("1", Kind.LANDED, "new"), Cause("2", Kind.DRIFT, "moved")
    first = place.start(run_of(landed))
    assert place.start(run_of(landed)) == first
    second = place.start(run_of(landed, drift))
    assert place.start(run_of(drift, landed)) == second != first
    assert len(server.runs) == 2


def test_it_is_told_how_a_run_ended_there(server):
    place = There(config_for(server))
    handle = place.start(run_of(Cause("1", Kind.LANDED, "new")))
    run = run_of(handle=handle)
    assert place.outcome(run) is None
    server.runs[handle]["state"] = "SUCCEEDED"
    assert place.outcome(run) == ("SUCCEEDED", "")
    server.runs.clear()
    assert place.outcome(run)[0] == "DELETED"


# Refreshes

LEARNS = {
    "triggers.landed.run": "refresh",
    "triggers.debounce_s": 0,
    "triggers.pause_s": 0,
    "split.folds": 3,
}


def pipelines_of(server: KfpServer) -> list[str]:
    """The pipeline of each run, the earliest first."""
    ids = [run["pipeline_version_reference"]["pipeline_id"] for run in server.runs.values()]
    return [server.pipelines[each]["display_name"] for each in ids]


def failed_in(server: KfpServer, handle: str, step: str) -> None:
    error = {"code": 2, "message": "there is no champion"}
    task = {"display_name": step, "state": "FAILED", "error": error}
    server.runs[handle] |= {"state": "FAILED", "run_details": {"task_details": [task]}}


def test_a_refresh_is_sent_as_its_own_pipeline_once_per_data_configuration_and_code(server):
    place = There(config_for(server, **LEARNS))
    landed = Cause("1", Kind.LANDED, "new")
    refresh = TriggeredRun("r", 0, "STARTING", "", (landed,), pipeline="refresh")
    first = place.start(refresh)
    assert place.start(refresh) == first
    second = place.start(run_of(landed))
    assert place.start(run_of(landed)) == second != first
    assert pipelines_of(server) == ["ostinato-refresh", "ostinato-training"]
    refreshed, trained = (
        Config.from_json(run["runtime_config"]["parameters"]["config"])
        for run in server.runs.values()
    )
    assert (refreshed.split.folds, trained.split.folds) == (1, 3)


@pytest.mark.parametrize("step", ["champion", "refresh"])
def test_a_champion_that_cannot_be_refreshed_there_is_trained_anew(server, tmp_path, step):
    config, book = config_for(server, **LEARNS), Book(tmp_path / "book.db")
    book.add([Cause("1", Kind.LANDED, "new")], 0)
    keeper = Keeper(book, There(config), config.triggers)
    keeper.tend()
    (run,) = book.going()
    failed_in(server, run.handle, step)
    keeper.tend()
    keeper.tend()
    assert pipelines_of(server) == ["ostinato-refresh", "ostinato-training"]
    training, refresh = book.latest(5)
    assert (refresh.state, training.state) == (UNREFRESHED, "RUNNING")
    assert refresh.told == f"{step}: there is no champion"


def test_data_that_fail_a_refresh_would_fail_a_training_too(server):
    place = There(config_for(server, **LEARNS))
    landed = (Cause("1", Kind.LANDED, "new"),)
    handle = place.start(TriggeredRun("r", 0, "STARTING", "", landed, pipeline="refresh"))
    failed_in(server, handle, "validate")
    run = TriggeredRun("r", 0, "RUNNING", handle, landed, pipeline="refresh")
    assert place.outcome(run)[0] == "FAILED"


# Faults


def test_a_server_that_is_away_or_a_token_that_has_expired_lose_no_cause(
    server, tmp_path, monkeypatch
):
    config, book = config_for(server, **LEARNS), Book(tmp_path / "book.db")
    book.add([Cause("1", Kind.LANDED, "new")], 0)
    keeper = Keeper(book, There(config), config.triggers)
    server.broken["POST /runs"] = [503] * 2
    keeper.tend()
    assert [run.state for run in book.latest(5)] == ["STARTING"]
    server.token = "renewed"
    keeper.tend()
    assert [run.state for run in book.latest(5)] == ["STARTING"]
    monkeypatch.setenv("OSTINATO_KFP_TOKEN", "renewed")
    keeper.tend()
    (run,) = book.latest(5)
    assert (run.state, list(server.runs)) == ("RUNNING", [run.handle])
    # Nor is a run that goes on there taken for ended while nobody can be asked.
    server.broken[f"GET /runs/{run.handle}"] = [503] * 2
    keeper.tend()
    assert book.latest(5)[0].state == "RUNNING"
    del server.runs[run.handle]
    keeper.tend()
    assert book.latest(5)[0].state == "DELETED"
    assert not server.runs


def test_what_the_backend_will_never_take_is_refused_and_not_tried_for_ever(server, tmp_path):
    config, book = config_for(server, **LEARNS), Book(tmp_path / "book.db")
    book.add([Cause("1", Kind.LANDED, "new")], 0)
    keeper = Keeper(book, There(config), config.triggers)
    server.broken["POST /runs"] = [403]
    keeper.tend()
    keeper.tend()
    (run,) = book.latest(5)
    assert run.state == "REFUSED"
    assert "403" in run.told
    assert server.calls.count("POST /runs") == 1
