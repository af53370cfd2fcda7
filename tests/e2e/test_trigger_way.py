"""Runs that start by themselves, for real: a refresh that can't be made, and its training.

`ostinato trigger watch` in a process of its own, ended in the middle and started again.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipelines.triggers.book import UNREFRESHED, Book


@pytest.mark.slow
@pytest.mark.timeout(2900)
def test_new_data_without_a_champion_are_trained_on_whoever_watches_meanwhile(house):
    at_once = {"debounce_s": 0, "pause_s": 0, "poll_s": 0.5, "landed": {"run": "refresh"}}
    shop = house({"kind": "synthetic", "users": 700, "items": 120, "days": 60}, triggers=at_once)

    def watched(until: Callable[[Book], bool]) -> None:
        words = ["-m", "pipelines.cli", "trigger", "watch", "--config", str(shop.config)]
        watching = subprocess.Popen([sys.executable, *words])
        try:
            deadline = time.monotonic() + 2400
            while not (
                (shop.workspace / "triggers.db").exists()
                and until(Book(shop.workspace / "triggers.db"))
            ):
                assert watching.poll() is None, "it ended by itself"
                assert time.monotonic() < deadline, "it never happened"
                time.sleep(0.5)
        finally:
            watching.send_signal(signal.SIGTERM)
            watching.wait(60)
        assert watching.returncode == 0

    def trains(book: Book) -> bool:
        return any(run.pipeline == "training" and run.state == "RUNNING" for run in book.going())

    watched(trains)
    watched(lambda book: not book.going())
    told = json.loads(shop.ostinato("trigger", "status", "--json").stdout)
    assert told["waiting"] == []
    training, refresh = told["runs"]
    assert (training["pipeline"], training["state"]) == ("training", "SUCCEEDED")
    assert (refresh["pipeline"], refresh["state"]) == ("refresh", UNREFRESHED)
    assert "no champion that could be refreshed" in refresh["told"]
    assert training["why"] == refresh["why"]
    assert shop.last_run.name == training["id"]
    assert shop.outcome()["state"] == "SUCCEEDED"
    # Whether it won its place or not, the model is on record.
    version = shop.step("register")["summary"]["version"]
    assert version in shop.registered().models
