"""Triggered runs on a pipelines backend: submitted once, whoever asks again."""

from __future__ import annotations

from pathlib import Path

import pytest
from kfp_server import KfpServer

from pipelines.triggers.book import TriggeredRun
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.places import There
from recommender.config import Config, load

SYNTHETIC = Path(__file__).parents[3] / "configs" / "synthetic.yaml"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OSTINATO_KFP_TOKEN", raising=False)
    with KfpServer() as running:
        yield running


def config_for(server: KfpServer) -> Config:
    quick = {"backend.attempts": 3, "backend.pause_s": 0.01, "triggers.launch": "backend"}
    return load(SYNTHETIC, {**quick, "backend.host": server.url})


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
