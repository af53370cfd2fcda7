"""When runs come to be: debounced, deduplicated, bounded, and never lost."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.triggers.book import UNREFRESHED, Book, TriggeredRun
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.keeper import STARTS, Keeper
from pipelines.triggers.places import CRASHED
from recommender.config.triggers import TriggersConfig
from recommender.errors import ConfigError, StorageError

CONFIG = TriggersConfig(debounce_s=10, longest_wait_s=60, pause_s=100, poll_s=0.01)


def landed(name: str = "1") -> Cause:
    return Cause(name, Kind.LANDED, f"file {name}")


def asked(name: str = "a") -> Cause:
    return Cause(name, Kind.ASKED, "please")


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path / "book.db")


def test_a_run_waits_until_nothing_more_comes_and_takes_everything(book):
    for second in range(5):
        book.add([landed(str(second))], second)
        assert book.claim(f"r{second}", CONFIG, second) is None
    assert book.claim("early", CONFIG, 13.9) is None
    run = book.claim("r", CONFIG, 14)
    assert [cause.id for cause in run.causes] == ["0", "1", "2", "3", "4"]
    assert book.waiting() == ()


def test_where_something_comes_all_the_time_it_waits_no_longer_than_said(book):
    claimed = None
    for second in range(200):
        book.add([landed(str(second))], second)
        claimed = book.claim("r", CONFIG, second)
        if claimed:
            break
    assert second == 60


def test_no_more_runs_at_once_than_said_and_a_pause_between_them(book):
    book.add([landed("1")], 0)
    assert book.claim("one", CONFIG, 10)
    book.add([landed("2")], 20)
    assert book.claim("two", CONFIG, 200) is None
    book.ended("one", "SUCCEEDED", "", 201)
    assert book.claim("two", CONFIG, 202)
    book.ended("two", "SUCCEEDED", "", 203)
    book.add([landed("3")], 204)
    assert book.claim("three", CONFIG, 214) is None
    assert book.claim("three", CONFIG, 302)


def test_somebody_who_asks_does_not_wait_for_the_pause(book):
    book.add([landed()], 0)
    book.claim("one", CONFIG, 10)
    book.ended("one", "SUCCEEDED", "", 11)
    book.add([asked()], 12)
    assert book.claim("two", CONFIG, 22)


def test_the_same_cause_after_its_run_is_no_further_run(book):
    book.add([landed()], 0)
    book.claim("one", CONFIG, 10)
    book.ended("one", "FAILED", "", 11)
    assert book.add([landed()], 500) == 0
    assert book.claim("two", CONFIG, 1000) is None


def test_many_who_claim_at_once_get_one_run(tmp_path):
    path = tmp_path / "book.db"
    Book(path).add([landed()], 0)
    gate = threading.Barrier(8)

    def claim(number: int):
        book = Book(path)
        gate.wait()
        return book.claim(f"r{number}", CONFIG, 10)

    with ThreadPoolExecutor(8) as pool:
        got = [run for run in pool.map(claim, range(8)) if run]
    assert len(got) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40)), max_size=25))
def test_every_cause_leads_to_exactly_one_run(tmp_path_factory, arrivals):
    book = Book(tmp_path_factory.mktemp("books") / "book.db")
    now = 0
    for name, pause in arrivals:
        now += pause
        book.add([landed(str(name))], now)
        if run := book.claim(f"r{now}", CONFIG, now):
            book.ended(run.id, "SUCCEEDED", "", now)
    for _ in range(3):
        now += 1000
        if run := book.claim(f"r{now}", CONFIG, now):
            book.ended(run.id, "SUCCEEDED", "", now)
    taken = [cause.id for run in book.latest(100) for cause in run.causes]
    assert sorted(taken) == sorted({str(name) for name, _ in arrivals})


class Memory:
    """A place that remembers what was started, and says what it is told to say."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ends: list[tuple[str, str] | None] = []
        self.refuses: list[Exception] = []

    def start(self, run: TriggeredRun) -> str:
        if self.refuses:
            raise self.refuses.pop(0)
        self.started.append(run.id)
        return "7"

    def outcome(self, run: TriggeredRun):
        return self.ends.pop(0) if self.ends else None


def kept(book: Book, place: Memory, at: float, checks=()) -> Keeper:
    keeper = Keeper(book, place, CONFIG, checks, clock=lambda: at)
    keeper.tend()
    return keeper


def test_what_is_due_is_started_and_its_end_written_down(book):
    place = Memory()
    book.add([landed()], 0)
    kept(book, place, 5)
    assert not place.started
    kept(book, place, 10)
    place.ends = [("SUCCEEDED", "")]
    kept(book, place, 20)
    assert [run.state for run in book.latest(5)] == ["SUCCEEDED"]
    assert len(place.started) == 1


def test_killed_between_the_book_and_the_start_it_is_started_by_the_next_one(book):
    book.add([landed()], 0)
    run = book.claim("r", CONFIG, 10)
    place = Memory()
    kept(book, place, 11)
    assert place.started == [run.id]


def test_a_run_that_crashes_is_started_again_but_not_for_ever(book):
    place = Memory()
    place.ends = [(CRASHED, "gone")] * 10
    book.add([landed()], 0)
    for second in range(10):
        kept(book, place, 10 + second)
    assert len(place.started) == STARTS
    (run,) = book.latest(5)
    assert (run.state, run.told) == (CRASHED, "gone")


def test_trouble_that_passes_is_waited_for_and_a_mistake_is_not(book):
    place = Memory()
    place.refuses = [StorageError("S3 is away"), StorageError("S3 is away")]
    book.add([landed("1")], 0)
    for second in range(10, 14):
        kept(book, place, second)
    assert len(place.started) == 1
    place.ends = [("SUCCEEDED", "")]
    place.refuses = [ConfigError("no such host")]
    book.add([landed("2")], 200)
    for second in range(300, 303):
        kept(book, place, second)
    assert [run.state for run in book.latest(5)] == ["REFUSED", "SUCCEEDED"]
    assert "no such host" in book.latest(1)[0].told


def test_a_check_that_fails_stops_neither_the_others_nor_the_runs(book):
    def broken():
        raise StorageError("the log can't be read")

    place = Memory()
    book.add([landed()], 0)
    moved = Cause("drift#1", Kind.DRIFT, "moved")
    kept(book, place, 100, checks=[broken, lambda: [moved]])
    assert len(place.started) == 1
    assert [cause.id for cause in book.latest(1)[0].causes] == ["1", "drift#1"]


# Which way a cause is answered

LEARNS = TriggersConfig.model_validate(
    {"debounce_s": 0, "pause_s": 100, "landed": {"run": "refresh"}, "asked": {"run": "refresh"}}
)


@pytest.mark.parametrize(
    ("kinds", "pipeline"),
    [
        ([Kind.LANDED], "refresh"),
        ([Kind.LANDED, Kind.ASKED], "refresh"),
        ([Kind.DRIFT], "training"),
        ([Kind.DECAY], "training"),
        ([Kind.LANDED, Kind.DRIFT], "training"),
    ],
)
def test_each_cause_is_answered_as_configured_and_one_training_is_enough_for_all(
    book, kinds, pipeline
):
    book.add([Cause(str(n), kind, "why") for n, kind in enumerate(kinds)], 0)
    assert book.claim("r", LEARNS, 1).pipeline == pipeline
    book.ended("r", "SUCCEEDED", "", 2)
    book.add([Cause("later", kinds[0], "why")], 3)
    assert book.claim("s", TriggersConfig(debounce_s=0, pause_s=0), 4).pipeline == "training"


def keeping(book: Book, place: Memory, config: TriggersConfig, at: float, **words) -> None:
    Keeper(book, place, config, clock=lambda: at, **words).tend()


def test_where_there_is_no_refreshing_a_training_follows_at_once_and_only_once(book):
    place = Memory()
    book.add([landed("1"), asked("2")], 0)
    keeping(book, place, LEARNS, 1)
    book.add([landed("3")], 2)
    place.ends = [(UNREFRESHED, "there is no champion")]
    keeping(book, place, LEARNS, 3)
    training, refresh = book.latest(5)
    assert (refresh.pipeline, refresh.state, refresh.told) == (
        "refresh",
        UNREFRESHED,
        "there is no champion",
    )
    assert (training.pipeline, training.state) == ("training", "RUNNING")
    # It answers the very causes of the refresh; what came meanwhile waits for its own run.
    assert training.causes == refresh.causes == (landed("1"), asked("2"))
    assert place.started == [refresh.id, training.id]
    place.ends = [("FAILED", "no data")]
    keeping(book, place, LEARNS, 4)
    assert [run.state for run in book.latest(5)] == ["FAILED", UNREFRESHED]
    keeping(book, place, LEARNS, 103)
    assert book.latest(1)[0].causes == (landed("3"),)


def test_killed_before_the_training_is_started_the_next_one_starts_it(book):
    place = Memory()
    book.add([landed()], 0)
    keeping(book, place, LEARNS, 1)
    place.ends, place.refuses = [(UNREFRESHED, "no champion")], [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        keeping(book, place, LEARNS, 2)
    assert len(place.started) == 1
    keeping(book, place, LEARNS, 3)
    assert [run.pipeline for run in book.going()] == ["training"]
    assert len(place.started) == 2


def test_a_book_from_before_there_were_refreshes_is_gone_on_with(tmp_path):
    path = tmp_path / "book.db"
    Book(path).add([landed("1")], 0)
    with sqlite3.connect(path) as old:
        for column in ("pipeline", "instead_of"):
            old.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        old.execute("INSERT INTO runs (id, began, state) VALUES ('r', 0, 'RUNNING')")
    old.close()
    book = Book(path)
    (run,) = book.going()
    assert (run.pipeline, run.instead_of) == ("training", "")
    assert book.waiting() == (landed("1"),)


# Keepers


def test_of_two_who_keep_one_book_one_acts_at_a_time(book):
    place = Memory()
    book.add([landed()], 0)
    with book.tended() as ours:
        assert ours
        kept(book, place, 10)
        assert not place.started
    kept(book, place, 11)
    assert len(place.started) == 1


def test_what_a_run_reads_anyway_is_no_reason_for_a_second_one(book):
    place, place.ends = Memory(), [("SUCCEEDED", "")]
    source = Cause("source#2", Kind.LANDED, "the source has changed")
    at_once = TriggersConfig(debounce_s=0, pause_s=0)
    book.add([landed("event about the same file")], 0)
    keeping(book, place, at_once, 1, read=lambda: [source])
    keeping(book, place, at_once, 2, checks=[lambda: [source]])
    keeping(book, place, at_once, 3)
    assert len(place.started) == 1
    assert not book.waiting()


def test_what_is_in_the_way_is_logged_once_and_a_defect_stops_nothing(book, caplog):
    place = Memory()
    place.refuses = [StorageError("away"), StorageError("away"), ValueError("a defect")]
    book.add([landed()], 0)

    class Patient(threading.Event):
        def wait(self, timeout=None):
            if place.started:
                self.set()
            return True

    stopped = Patient()
    Keeper(book, place, CONFIG, clock=lambda: 10).keep(stopped)
    assert len(place.started) == 1
    told = [record.message for record in caplog.records]
    assert sum("has to wait: away" in line for line in told) == 1
    assert "the look at what is due has failed; the next one goes on" in told
