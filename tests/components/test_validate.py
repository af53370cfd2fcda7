"""The validate step on what the ingest step really hands over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from components.ingest.step import run as ingest
from components.validate.step import run as validate
from recommender.config import Config, parse
from recommender.tables import Tables

# What a KFP runner does with a step, in a process of its own.
RUN = """
import resource, signal, sys
limit = int(sys.argv[6])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from components.validate.step import run
run(*sys.argv[1:6])
"""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """One data set's workspace, and the folders of the step's artifacts."""

    root: Path
    config: Config

    @property
    def data(self) -> Path:
        return self.root / "data-artifact"

    @property
    def accepted(self) -> Path:
        return self.config.paths.data / "accepted.json"

    def validate(self, run_id: str = "r1") -> Path:
        """Run the step; return its `clean` folder."""
        clean, docs = self.root / run_id / "clean", self.root / run_id / "docs"
        validate(self.config.to_json(), run_id, str(self.data), str(clean), str(docs))
        return clean

    def spoil(self, change: Callable[[Rows], object], version: str = "d-spoiled") -> None:
        """Edit the events that ingest handed over, under another version's name."""
        tables = Tables.read(self.data)
        rows = tables.events.to_pylist()
        change(rows)
        events = pa.Table.from_pylist(rows, tables.events.schema)
        Tables(events, tables.items, tables.users).write(self.data)
        manifest = json.loads((self.data / "manifest.json").read_text())
        (self.data / "manifest.json").unlink()
        (self.data / "manifest.json").write_text(
            json.dumps({**manifest, "data_version": version}), encoding="utf-8"
        )

    def step(self, run_id: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(
            (self.config.paths.run(run_id) / "steps" / "validate.json").read_text()
        )
        return record


@pytest.fixture
def place(tmp_path: Path) -> Place:
    config = parse(
        {
            "name": "shop",
            "workspace": str(tmp_path / "workspace"),
            "source": {"kind": "synthetic", "users": 60, "items": 60, "days": 40},
            "actions": {
                "types": ["impression", "click", "purchase"],
                "history": ["click", "purchase"],
            },
            "quality": {"log": {"users": {"warn": 20, "fail": 2}}},
        },
        "the test's configuration",
    )
    made = Place(tmp_path, config)
    ingest(config.to_json(), "r0", str(made.data))
    return made


def test_sound_data_is_handed_on_and_accepted(place: Place) -> None:
    clean = place.validate()

    given, kept = Tables.read(place.data), Tables.read(clean)
    assert kept.events.num_rows == given.events.num_rows
    assert pa.parquet.read_schema(clean / "events.parquet").field("time").nullable is False
    assert json.loads((clean / "manifest.json").read_text()) == json.loads(
        (place.data / "manifest.json").read_text()
    )
    version = json.loads((clean / "manifest.json").read_text())["data_version"]
    quality = json.loads((clean / "quality.json").read_text())
    accepted = json.loads(place.accepted.read_text())
    assert quality["verdict"] == "passed"
    assert accepted["current"]["data_version"] == quality["data_version"] == version
    assert accepted["current"]["statistics"] == quality["statistics"]
    assert (place.config.paths.run("r1") / "validation.html").exists()
    assert (place.root / "r1" / "docs" / "index.html").exists()


def test_the_summary_tells_what_was_run_and_what_was_done(place: Place) -> None:
    def spoil(events: Rows) -> None:
        events[0]["item_id"] = "nowhere"
        events[1]["user_id"] = None

    place.spoil(spoil)
    place.validate()

    summary = place.step("r1")["summary"]
    rows = summary["rows_in"]["events"]
    assert summary["verdict"] == "passed with warnings"
    assert summary["expectations"] == summary["passed"] + summary["warnings"] > 60
    assert summary["warnings"] == len(summary["warned"]) == 2
    assert "events: each has a user" in summary["warned"]
    assert summary["rows_out"]["events"] == rows - 2
    assert summary["removed"]["events"] == {"no user": 1, "unknown item": 1}
    assert summary["imputed"]["events.user_id"] == {
        "policy": "drop",
        "missing": 1,
        "filled": 0,
        "dropped": 1,
        "left": 0,
    }


def test_bad_data_ends_the_run_with_a_message_and_leaves_everything_as_it_was(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.validate("good")
    before = place.accepted.read_bytes()

    def spoil(events: Rows) -> None:
        for row in events[::5]:
            row["item_id"] = "nowhere"

    place.spoil(spoil)
    with pytest.raises(SystemExit) as caught:
        place.validate("bad")

    message = str(caught.value)
    assert message.startswith("validate: data d-spoiled broke a critical expectation:")
    assert "events: the item is in the catalogue" in message
    assert "item_id nowhere" in message
    page = place.config.paths.run("bad") / "validation.html"
    assert str(page) in message
    assert place.accepted.read_bytes() == before
    assert place.step("bad")["status"] == "failed"
    assert place.step("bad")["summary"]["broken"] == ["events: the item is in the catalogue"]
    # A person can look, but no later step finds tables.
    assert "Failed" in page.read_text()
    clean = place.root / "bad" / "clean"
    assert [path.name for path in clean.iterdir()] == ["quality.json"]
    assert json.loads((clean / "quality.json").read_text())["verdict"] == "failed"
    assert (place.root / "bad" / "docs" / "index.html").exists()


def test_first_data_that_is_bad_leaves_no_accepted_version(place: Place) -> None:
    place.spoil(list.clear)

    with pytest.raises(SystemExit, match="events of the history types: 0"):
        place.validate()

    assert not place.accepted.exists()


def test_a_wrong_type_is_told_like_any_other_defect(place: Place) -> None:
    events = Tables.read(place.data).events
    place_of = events.schema.get_field_index("time")
    wrong = events.set_column(place_of, "time", events["time"].cast(pa.string()))
    path = place.data / "events.parquet"
    path.unlink()
    pa.parquet.write_table(wrong, path)

    with pytest.raises(SystemExit, match=r"events\.time: type: string; expected timestamp"):
        place.validate()

    assert not place.accepted.exists()


def test_the_next_version_is_compared_with_the_accepted_one_and_so_is_a_rerun(
    place: Place,
) -> None:
    place.validate("first")
    first = json.loads(place.accepted.read_text())["current"]["data_version"]

    def spoil(events: Rows) -> None:
        del events[len(events) * 4 // 5 :]

    place.spoil(spoil, "d-next")
    place.validate("second")
    place.validate("second-again")

    told = [place.step(run)["summary"] for run in ("second", "second-again")]
    for summary in told:
        assert summary["against"]["data_version"] == first
        assert any(name.startswith("drift: events") for name in summary["warned"])
    accepted = json.loads(place.accepted.read_text())
    assert accepted["current"]["data_version"] == "d-next"
    assert accepted["previous"]["data_version"] == first


def test_a_manifest_without_a_version_is_named(place: Place) -> None:
    (place.data / "manifest.json").unlink()
    (place.data / "manifest.json").write_text("{}")

    with pytest.raises(SystemExit, match=r"manifest\.json names no data_version"):
        place.validate()


def test_raw_user_ids_leave_in_no_report(place: Place) -> None:
    def spoil(events: Rows) -> None:
        for row in events[:200]:
            row |= {"user_id": f"{row['user_id']}@example.com", "item_id": "nowhere"}
        events.extend(dict(row) for row in events[:50])

    place.spoil(spoil)
    with pytest.raises(SystemExit) as caught:
        place.validate()

    written = [*place.config.paths.run("r1").rglob("*"), *(place.root / "r1").rglob("*")]
    texts = [path.read_text() for path in written if path.suffix in (".json", ".html")]
    assert len(texts) > 5
    assert not [text for text in (*texts, str(caught.value)) if "example.com" in text]


def in_its_own_process(place: Place, run_id: str, file_limit: int = 0) -> subprocess.Popen[str]:
    """Start the step as a KFP runner does; with a limit, no file may grow beyond it."""
    clean, docs = place.root / run_id / "clean", place.root / run_id / "docs"
    command = [sys.executable, "-c", RUN, place.config.to_json(), run_id]
    return subprocess.Popen(
        [*command, str(place.data), str(clean), str(docs), str(file_limit)],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_the_accepted_version_as_it_was(place: Place) -> None:
    place.validate("good")
    before = place.accepted.read_bytes()
    place.spoil(lambda events: events.pop(), "d-next")

    process = in_its_own_process(place, "full", 60_000)
    _, said = process.communicate(timeout=120)

    assert process.returncode != 0
    assert "validate: cannot write" in said
    assert "Traceback" not in said
    assert place.accepted.read_bytes() == before
    assert not (place.root / "full" / "clean").exists()


def test_an_interrupted_step_says_so_and_leaves_the_accepted_version_as_it_was(
    place: Place,
) -> None:
    place.validate("good")
    before = place.accepted.read_bytes()
    place.spoil(lambda events: events.pop(), "d-next")

    process = in_its_own_process(place, "cut")
    record = place.config.paths.run("cut")
    while not record.exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(1.0)  # by now it is loading Great Expectations, or judging
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)

    assert process.returncode != 0
    assert "validate: interrupted" in said
    assert place.accepted.read_bytes() == before
    assert not (place.root / "cut" / "clean").exists()
    assert not list((place.root / "cut").glob("*"))


def test_the_component_passes_paths_on(place: Place) -> None:
    from components.validate.component import validate as component

    def artifact(name: str) -> SimpleNamespace:
        return SimpleNamespace(path=str(place.root / name), metadata={})

    component.python_func(
        place.config.to_json(), "r1", artifact("data-artifact"), artifact("clean"), artifact("docs")
    )

    assert (place.root / "clean" / "events.parquet").exists()
    assert (place.root / "docs" / "index.html").exists()


def test_the_step_imports_no_platform_and_the_module_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, components.validate.step; "
        "heavy = {'great_expectations', 'sklearn', 'kfp', 'feast', 'torch', 'jinja2'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    assert done.stdout.strip() == "[]"


def test_events_in_the_future_of_the_clock_are_removed(place: Place) -> None:
    later = datetime(datetime.now(UTC).year + 2, 1, 1, tzinfo=UTC)

    def spoil(events: Rows) -> None:
        events[-1]["time"] = later

    place.spoil(spoil)
    clean = place.validate()

    times = Tables.read(clean).events["time"].to_pylist()
    assert max(times) < later
    assert place.step("r1")["summary"]["removed"]["events"] == {"time out of range": 1}
