"""Bad input and broken runs: a clear message, a status that isn't 0, and nothing has changed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.online import OnlineFeatures
from recommender.config import load
from recommender.files import read_json
from recommender.registry import Registry
from recommender.workspace import Workspace
from serving.endpoint import ask

ROOT = Path(__file__).parents[2]

# A whole run belongs to the first test; a loaded machine takes minutes for it.
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Kept:
    """What no bad day may change."""

    champion: str | None
    versions: tuple[str, ...]
    accepted: str
    histories: dict[str, Any]
    answer: Any


def kept(house) -> Kept:
    """Look at everything that people rely on: registry, accepted data, features, endpoint."""
    paths = Workspace(house.workspace)
    registry = Registry.of(paths)
    name = yaml.safe_load(house.config.read_text())["name"]
    with OnlineFeatures(paths, name) as store:
        users = sorted(store.users())[:40]
        histories = dict(zip(users, store.user_histories(users), strict=True))
    # Asked as of one moment: an answer read off the clock changes with the hour of the day.
    answer = ask(load(house.config), users[0], 5, time=ASKED)
    del answer["request_id"]  # every answer has its own
    return Kept(
        registry.champion(),
        registry.versions(),
        read_json(paths.data / "accepted.json")["current"]["data_version"],
        {user: repr(history) for user, history in histories.items()},
        answer,
    )


def with_source(house, folder: Path, events: str | bytes | Path, **mapping: Any):
    """Return the same house (workspace, endpoint), reading another log."""
    log = events if isinstance(events, Path) else folder / "log.csv"
    if isinstance(events, bytes):
        log.write_bytes(events)
    elif isinstance(events, str):
        log.write_text(events)
    tree = yaml.safe_load(house.config.read_text())
    columns = {"user": "user", "item": "item", "time": "time"}
    tree["source"] = {
        "kind": "mapped",
        "events": {
            "location": str(log),
            "columns": columns,
            "time": {"unit": "s"},
            "types": {"rules": [{"event": "click"}]},
            **mapping,
        },
        "items": {"columns": {"item": "item", "title": "item"}},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return replace(house, config=path)


def log(rows: list[tuple[object, object, object]]) -> str:
    return "user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows)


HOUR = 3600
START = 1_700_000_000
ASKED = 4_000_000_000_000  # after every event, UTC milliseconds
ORDINARY = [(f"u{n % 40}", f"i{n % 17}", START + n * HOUR) for n in range(600)]

BAD = {
    "an empty file": ("", ["log.csv"]),
    "only a header": ("user,item,time\n", ["log.csv"]),
    "a missing column": ("user,thing,time\nu,i,1\n", ["item", "thing"]),
    "a wrong type": (log([("u", "i", "yesterday")] * 5), ["time", "yesterday"]),
    "not UTF-8": ("user,item,time\nu1,caf\u00e9,1\n".encode("latin-1"), ["log.csv", "encoding"]),
    "one user": (log([("u1", i, t) for _, i, t in ORDINARY]), ["user"]),
    "one item": (log([(u, "i1", t) for u, _, t in ORDINARY]), ["item"]),
    "one moment": (log([(u, i, START) for u, i, _ in ORDINARY]), ["time"]),
    "the far future": (
        log([(u, i, t + 4_000_000_000) for u, i, t in ORDINARY]),
        ["time is believable"],
    ),
    "before any shop": (log([(u, i, t - START - 9_999_999) for u, i, t in ORDINARY]), ["time"]),
}


# A run each; every kind is also tested where it is found out, in ingest and validate.
QUICK = ("a missing column",)


@pytest.mark.parametrize(
    "what", [what if what in QUICK else pytest.param(what, marks=pytest.mark.slow) for what in BAD]
)
def test_bad_data_is_named_and_nothing_changes(what, shop, first_run, tmp_path):
    content, words = BAD[what]
    before = kept(shop)
    told = with_source(shop, tmp_path, content).ostinato("run")
    assert told.returncode == 1, told.stdout + told.stderr
    for word in words:
        assert word in told.stderr.lower() or word in told.stderr
    assert "Traceback" not in told.stderr
    assert kept(shop) == before


@pytest.mark.slow
def test_a_log_in_a_bucket_that_cannot_be_read_is_named(shop, first_run, tmp_path, s3_endpoint):
    before = kept(shop)
    told = with_source(shop, tmp_path, "", location="s3://no-such-bucket/log.csv").ostinato("run")
    assert told.returncode == 1
    assert "no-such-bucket" in told.stderr
    assert "Traceback" not in told.stderr
    assert kept(shop) == before


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("ingest", marks=pytest.mark.slow),
        "validate",
        pytest.param("materialize", marks=pytest.mark.slow),
        pytest.param("train", marks=pytest.mark.slow),
        pytest.param("evaluate", marks=pytest.mark.slow),
        pytest.param("deploy", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_in_a_step_stops_the_run_and_changes_nothing(step, shop, first_run):
    before = kept(shop)
    # Another model than the champion, which passes the gate all the same.
    settings = [
        "training.epochs=2",
        "evaluation.gate.champion_margin=0.9",
        "evaluation.gate.slices=false",
        "evaluation.gate.maximum_calibration_error=null",
    ]
    words = [word for one in settings for word in ("--set", one)]
    running = subprocess.Popen(
        [*shop.command("run"), *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_step(shop, step, running)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=200)
    finally:
        running.kill()
    assert running.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert shop.outcome()["state"] == "INTERRUPTED"
    after = kept(shop)
    if step == "deploy":  # the candidate was registered by then; nothing serves it
        assert set(after.versions) > set(before.versions)
        after = replace(after, versions=before.versions)
    assert after == before


def wait_for_step(house, step: str, running: subprocess.Popen[str], timeout_s: float = 600) -> None:
    """Wait until the newest run has begun a step, and a moment more."""
    known = set((house.workspace / "runs").iterdir())
    started = time.monotonic()
    while time.monotonic() - started < timeout_s:
        assert running.poll() is None, running.communicate()
        for run in set((house.workspace / "runs").iterdir()) - known:
            path = run / "progress.jsonl"
            if path.exists() and f'"step": "{step}"' in path.read_text():
                time.sleep(1.5)
                return
        time.sleep(0.1)
    pytest.fail(f"{step} did not begin within {timeout_s} s")


def test_the_command_line_runs_without_a_terminal_and_without_a_home():
    told = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "--help"],
        env={"PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0
