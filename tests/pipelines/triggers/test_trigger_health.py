"""What the receiver says of itself: whether it works, and how long ago things happened."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipelines.triggers.app import _keeper, book_of
from pipelines.triggers.book import Book
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.door import make_app
from pipelines.triggers.guard import Guard
from pipelines.triggers.keeper import Keeper, Keeping
from pipelines.triggers.metrics import TriggerMetrics
from recommender.config import Config, load
from recommender.config.triggers import TriggersConfig

RULES = Path(__file__).parents[3] / "infra" / "kustomize" / "base" / "monitoring"
QUICK = TriggersConfig(debounce_s=0, pause_s=0, poll_s=0.01, check_s=0.01, longest_look_s=60)


class Nowhere:
    """A place where runs start and go on for ever."""

    def start(self, run):
        return "7"

    def outcome(self, run):
        return None


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path / "book.db")


def door(book: Book, keeper: Keeper) -> TestClient:
    guard = Guard(None, None, 300, 1000)
    app = make_app(book, guard, 4096, lambda causes: None, keeping=Keeping(keeper))
    return TestClient(app, raise_server_exceptions=False)


def test_a_defect_ends_neither_the_work_nor_what_is_said_of_it(book):
    looks = []

    def broken():
        looks.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    with door(book, Keeper(book, Nowhere(), QUICK, [broken])) as client:
        event = {"id": "1", "source": "s", "type": "ostinato.run.asked"}
        assert client.post("/events", json=event).status_code == 202
        deadline = time.monotonic() + 60
        while not (book.going() and len(looks) > 2):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert client.get("/healthz").status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_anybody_who_works_the_door_says_that_it_is_ill(book, caplog):
    ended = threading.Event()

    def deadly():
        ended.set()
        raise SystemExit

    with door(book, Keeper(book, Nowhere(), QUICK, [deadly])) as client:
        assert ended.wait(60)
        deadline = time.monotonic() + 60
        while client.get("/healthz").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        told = client.get("/healthz")
        assert (told.status_code, "nobody looks after runs" in told.text) == (503, True)


def test_who_hangs_in_something_for_too_long_is_ill_and_who_only_works_long_is_not(book):
    now, keeper = [0.0], None
    well = []

    def long():
        now[0] += 59
        well.append(keeper.well())
        return []

    def stuck():
        now[0] += 61
        well.append(keeper.well())
        return []

    keeper = Keeper(book, Nowhere(), QUICK, [long, long, stuck], clock=lambda: now[0])
    keeper.tend()
    assert well == [True, True, False]
    assert keeper.well()


def test_a_book_that_cannot_be_kept_is_ill_in_the_end(book, caplog):
    now = [0.0]

    class Broken(Book):
        def claim(self, *_):
            raise sqlite3.OperationalError("database is locked")

    class Patient(threading.Event):
        def wait(self, timeout=None):
            now[0] += 10
            self.set() if now[0] > 100 else None
            return True

    keeper = Keeper(Broken(book._path), Nowhere(), QUICK, clock=lambda: now[0])
    with caplog.at_level(logging.ERROR):
        keeper.keep(Patient())
    assert "database is locked" in caplog.text
    assert not keeper.well()


def shop(tmp_path, location: Path) -> Config:
    (tmp_path / "c.yaml").write_text(
        f"""
name: shop
workspace: {tmp_path}/state
source:
  kind: mapped
  events:
    location: {location}
    columns: {{user: u, item: i, time: t}}
    types: {{rules: [{{event: click}}]}}
  items: {{columns: {{item: i}}}}
actions: {{types: [click], history: [click], success: [click]}}
triggers: {{debounce_s: 3600}}
"""
    )
    return load(tmp_path / "c.yaml")


def test_where_nothing_lies_yet_it_starts_and_the_first_data_are_a_cause(tmp_path, caplog):
    log = tmp_path / "raw" / "log.csv"
    config = shop(tmp_path, log.parent)
    book = book_of(config)
    _keeper(config, book).tend()
    assert "nothing lies at" in caplog.text
    assert book.waiting() == ()
    log.parent.mkdir()
    log.write_text("u,i,t\n")
    _keeper(config, book).tend()
    assert [cause.kind for cause in book.waiting()] == [Kind.LANDED]


def lines(book: Book) -> dict[str, float]:
    told = (line.rpartition(" ") for line in TriggerMetrics(book).text().splitlines())
    return {name: float(value) for name, _, value in told if not name.startswith("#")}


def test_every_age_that_an_alert_looks_at_is_there_from_the_start(book):
    rules = "".join(path.read_text() for path in RULES.glob("*-rules.yaml"))
    aged = r"time\(\) - max\((?:max_over_time\()?(ostinato_(?:trigger|drift)\w+)(\{[^}]*\})?"
    asked = {name + (labels or "") for name, labels in re.findall(aged, rules)}
    assert asked == {
        'ostinato_triggered_run_last_timestamp_seconds{state="SUCCEEDED"}',
        "ostinato_drift_looked_timestamp_seconds",
    }
    told = lines(book)
    assert all(told[each] == pytest.approx(book.begun()) for each in asked)
    assert told['ostinato_triggered_runs{state="SUCCEEDED"}'] == 0


def test_a_restart_forgets_neither_drift_nor_when_it_was_looked_at_nor_when_all_began(book):
    begun = book.begun()
    TriggerMetrics(book).drifted({"popularity": (0.4, 0.3), "event types": (None, 0.25)})
    before = lines(book)
    again = Book(book._path)
    assert again.begun() == begun
    assert lines(again) == before
    assert before['ostinato_drift{figure="popularity"}'] == 0.4
    assert before["ostinato_drift_looked_timestamp_seconds"] >= begun
    TriggerMetrics(again).drifted({})
    assert 'ostinato_drift{figure="popularity"}' not in lines(again)


def test_where_nothing_was_accepted_yet_drift_was_looked_at_all_the_same(tmp_path):
    from pipelines.triggers.signals import drifted

    log = tmp_path / "log.csv"
    log.write_text("u,i,t\n")
    told: list = []
    assert drifted(shop(tmp_path, log), told.append) == []
    assert told == [{}]


def test_a_cause_that_waits_for_the_backend_can_be_seen(book):
    book.add([Cause("1", Kind.ASKED, "please")], 0)
    book.claim("r", QUICK, 1)
    book.delayed("r", "can't be reached")
    assert lines(book)['ostinato_triggered_runs{state="STARTING"}'] == 1
    assert book.latest(1)[0].told == "can't be reached"
    book.started("r", "7")
    assert book.latest(1)[0].told == ""
