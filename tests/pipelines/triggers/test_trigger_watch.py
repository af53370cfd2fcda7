"""`ostinato trigger` for real: processes, HTTP, signals, and a run that fails quickly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipelines.triggers.book import Book
from pipelines.triggers.places import Here
from recommender.config import load

ROOT = Path(__file__).parents[3]
TOKEN = "t" * 32
PATIENCE_S = 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config_at(root: Path, debounce_s: float) -> Path:
    """Write the configuration of a shop whose log holds nothing: ingest says so and fails."""
    (root / "log.csv").write_text("user,item,time\n")
    columns = {"user": "user", "item": "item", "time": "time"}
    tree = {
        "name": "shop",
        "workspace": str(root / "state"),
        "source": {
            "kind": "mapped",
            "events": {
                "location": str(root / "log.csv"),
                "columns": columns,
                "types": {"rules": [{"event": "click"}]},
            },
            "items": {"columns": {"item": "item"}},
        },
        "actions": {"types": ["click"], "history": ["click"], "success": ["click"]},
        "triggers": {"debounce_s": debounce_s, "longest_wait_s": 7200, "poll_s": 0.1},
    }
    path = root / f"config-{debounce_s}.yaml"
    path.write_text(json.dumps(tree))  # JSON is YAML
    return path


@contextmanager
def at_work(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Let `ostinato trigger …` run, and end it by SIGTERM."""
    log = folder / f"{words[0]}.log"
    with log.open("a") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "trigger", *words],
            cwd=ROOT,
            env={**os.environ, "OSTINATO_TRIGGER_TOKEN": TOKEN},
            stdout=stream,
            stderr=stream,
            text=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def until(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def sent(port: int, name: str, **data: str) -> dict[str, int]:
    """Send an event; return what is answered."""
    event = {"specversion": "1.0", "id": name, "source": "lake", "type": "ostinato.data.landed"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/events",
        json.dumps({**event, "data": data}).encode(),
        {"authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_events_sent_twice_and_a_watcher_that_is_ended_in_the_middle_make_one_run(tmp_path):
    waits, at_once = config_at(tmp_path, 3600), config_at(tmp_path, 0.5)
    port, location = free_port(), str(tmp_path / "log.csv")
    with at_work(tmp_path, "serve", "--port", str(port), "--config", str(waits)) as door:
        until(lambda: listens(port), door)
        assert sent(port, "1", location=location) == {"received": 1, "new": 1}
        assert sent(port, "1", location=location) == {"received": 1, "new": 0}
        assert sent(port, "2", location=location)["new"] == 1
        book = Book(tmp_path / "state" / "triggers.db")
        # The door looks at the source itself, too; all that waits until nothing more comes.
        until(lambda: len(book.waiting()) == 3, door)
        assert book.latest(9) == ()

    place = Here(load(at_once))
    with at_work(tmp_path, "watch", "--config", str(at_once)) as first:
        until(lambda: [run.state for run in book.going()] == ["RUNNING"], first)
        (run,) = book.latest(9)
        held = psutil.Process(int(run.handle))
        held.suspend()
    try:
        assert first.returncode == 0
        assert "runs that were started go on" in (tmp_path / "watch.log").read_text()
        # It outlives who started it. Asked for twice, it runs once, also by somebody whose
        # predecessor was killed before it could write the process down.
        assert place.outcome(run) is None
        assert place.start(run) == place.start(replace(run, handle="")) == run.handle
    finally:
        held.resume()
    assert [cause.id.partition("#")[0] for cause in run.causes].count("lake") == 2
    assert len(run.causes) == 3

    with at_work(tmp_path, "watch", "--config", str(at_once)) as second:
        until(lambda: not book.going(), second)
    (ended,) = book.latest(9)
    assert (ended.id, ended.handle, ended.starts) == (run.id, run.handle, 1)
    assert ended.state == "FAILED"
    assert "log.csv" in ended.told
    assert book.waiting() == ()
    assert place.start(ended) == run.handle  # it has ended; it isn't run again
    (folder,) = (tmp_path / "state" / "runs").iterdir()
    assert json.loads((folder / "outcome.json").read_text())["run_id"] == run.id
