"""When runs come to be: debounced, deduplicated, bounded, and never lost."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_place import asked, landed

from pipelines.triggers.book import Book
from recommender.config.triggers import TriggersConfig

CONFIG = TriggersConfig(debounce_s=10, longest_wait_s=60, pause_s=100, poll_s=0.01)


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


def test_a_book_is_one_file_that_a_network_file_system_can_hold(book):
    """SQLite's write-ahead log has shared memory beside it, which two hosts don't share."""
    book.add([landed()], 0)
    other = Book(book._path)
    assert len(other.waiting()) == 1
    with sqlite3.connect(book._path) as opened:
        assert opened.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    opened.close()
    assert [each.name for each in book._path.parent.iterdir()] == [book._path.name]
