"""Runs are started, looked after, started again, and a refresh that can't be made is followed."""

from __future__ import annotations

import itertools
import sqlite3
import threading

import pytest
from memory_place import Memory, asked, landed

from pipelines.triggers.book import UNREFRESHED, Book
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.keeper import STARTS, Keeper
from pipelines.triggers.places import CRASHED
from recommender.config.triggers import TriggersConfig
from recommender.errors import ConfigError, StorageError

CONFIG = TriggersConfig(debounce_s=10, longest_wait_s=60, pause_s=100, poll_s=0.01)


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path / "book.db")


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

    minutes = itertools.count(1)
    keeper = Keeper(book, place, CONFIG, clock=lambda: 60 * next(minutes))

    class Patient(threading.Event):
        def wait(self, timeout=None):
            if place.started:
                self.set()
            return True

    keeper.keep(Patient())
    assert len(place.started) == 1
    told = [record.message for record in caplog.records]
    assert sum("has to wait: away" in line for line in told) == 1
    assert sum("which is a defect" in line for line in told) == 1


def test_the_longer_something_is_in_the_way_the_less_often_it_is_tried(book):
    place, now, tries = Memory(), [0.0], []

    def start(run):
        tries.append(now[0])
        raise StorageError("away")

    place.start = start
    patient = TriggersConfig(debounce_s=0, pause_s=0, poll_s=5)
    book.add([landed()], 0)
    keeper = Keeper(book, place, patient, clock=lambda: now[0])
    for now[0] in range(0, 2400, 10):
        keeper.tend()
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert len(tries) < 30
    assert min(pauses[:2]) <= 20  # at first it may be a moment's trouble
    assert 150 <= max(pauses) <= 460  # 300 s, by up to a half more or less, and a look
    (run,) = book.going()
    assert (run.state, run.told) == ("STARTING", "away")


def test_a_defect_in_one_check_or_at_one_run_stops_none_of_the_others(book):
    def broken():
        raise sqlite3.OperationalError("disk I/O error")

    class Here(Memory):
        def outcome(self, run):
            if run.id == "first":
                raise KeyError("state")
            return "SUCCEEDED", ""

    place, two = Here(), TriggersConfig(debounce_s=0, pause_s=0, concurrency=3)
    for name in ("first", "second"):
        book.add([landed(name)], 0)
        book.started(book.claim(name, two, 1).id, "7")
    moved = Cause("drift#1", Kind.DRIFT, "moved")
    keeping(book, place, two, 10, checks=[broken, lambda: [moved]])
    third, *_ = book.latest(1)
    assert third.causes == (moved,)
    assert {run.id: run.state for run in book.latest(5)} == {
        "first": "RUNNING",
        "second": "SUCCEEDED",
        third.id: "RUNNING",
    }


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
