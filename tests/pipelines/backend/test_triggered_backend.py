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


class Kept:
    """A keeper with a book, whose clock goes on by ten minutes at every look."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.now = 1_000.0
        self.book = Book(folder / "book.db")
        self.keeper = Keeper(self.book, There(config), config.triggers, clock=lambda: self.now)
        self.book.add([Cause("1", Kind.ASKED, "please")], self.now)

    def look(self) -> tuple[str, str]:
        self.now += 600
        self.keeper.tend()
        (run,) = self.book.latest(5)
        return run.state, run.told


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("GET /healthz", [503] * 2),
        ("POST /runs", [503] * 2),
        ("POST /runs", [429] * 2),
        ("POST /runs", [401]),
        ("GET /runs", [403]),
    ],
    ids=lambda told: str(told).replace("/", ""),
)
def test_a_backend_that_is_away_or_refuses_the_token_loses_no_cause(server, tmp_path, path, faults):
    kept = Kept(config_for(server, **LEARNS), tmp_path)
    server.broken[path] = list(faults)
    state, told = kept.look()
    assert (state, str(faults[0]) in told) == ("STARTING", True)
    assert not server.runs
    assert kept.look() == ("RUNNING", "")
    assert len(server.runs) == 1


def test_a_backend_that_cannot_be_reached_loses_no_cause(server, tmp_path):
    config = config_for(server, **LEARNS)
    nobody = {"backend": config.backend.model_copy(update={"host": "http://127.0.0.1:9"})}
    kept = Kept(config.model_copy(update=nobody), tmp_path)
    state, told = kept.look()
    assert (state, "can't ask for its health" in told) == ("STARTING", True)
    kept.keeper = Keeper(kept.book, There(config), config.triggers, clock=lambda: kept.now)
    assert kept.look() == ("RUNNING", "")
    assert len(server.runs) == 1


def test_a_token_that_was_renewed_goes_on_where_the_old_one_stopped(server, tmp_path, monkeypatch):
    kept = Kept(config_for(server, **LEARNS), tmp_path)
    server.token = "renewed"
    assert kept.look()[0] == "STARTING"
    monkeypatch.setenv("OSTINATO_KFP_TOKEN", "renewed")
    assert kept.look() == ("RUNNING", "")


def test_what_the_backend_will_never_take_is_refused_and_not_tried_for_ever(server, tmp_path):
    kept = Kept(config_for(server, **LEARNS), tmp_path)
    server.broken["POST /runs"] = [400]
    state, told = kept.look()
    assert (state, "fault 400" in told) == ("REFUSED", True)
    kept.look()
    assert server.calls.count("POST /runs") == 1


def test_a_run_that_cannot_be_looked_at_goes_on_and_is_not_deleted(server, tmp_path):
    kept = Kept(config_for(server, **LEARNS), tmp_path)
    assert kept.look() == ("RUNNING", "")
    (handle,) = server.runs
    server.broken["GET /healthz"] = [404]  # of whatever stands before the backend
    assert kept.look() == ("RUNNING", "")
    server.broken[f"GET /runs/{handle}"] = [503] * 2
    assert kept.look() == ("RUNNING", "")
    del server.runs[handle]
    assert kept.look()[0] == "DELETED"
    assert not server.runs
