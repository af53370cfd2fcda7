"""What starts runs, over HTTP: who may, what counts, what is refused."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from pipelines.triggers.app import serving
from pipelines.triggers.book import Book
from pipelines.triggers.cause import InvalidCauseError, Kind, read
from pipelines.triggers.door import NoSuchDataError, make_app
from pipelines.triggers.guard import MOMENT, SIGNATURE, Guard, secrets_of, signature
from recommender.errors import ConfigError, StorageError

TOKEN, SECRET = "t" * 32, "s" * 32
BEARER = {"authorization": f"Bearer {TOKEN}"}


def event(name: str = "1", kind: str = "ostinato.data.landed", **data: object) -> dict:
    return {"specversion": "1.0", "id": name, "source": "lake", "type": kind, "data": data}


def s3(key: str = "raw/log+1.csv", sequencer: str = "A1", happened: str = "ObjectCreated:Put"):
    thing = {"key": key, "sequencer": sequencer}
    return {"eventName": happened, "s3": {"bucket": {"name": "lake"}, "object": thing}}


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path / "book.db")


def client(book, look=lambda causes: None, token=TOKEN, secret=SECRET, **limits) -> TestClient:
    guard = Guard(token, secret, 300, limits.get("per_minute", 1000))
    return TestClient(make_app(book, guard, limits.get("most", 4096), look))


def test_an_event_is_written_down_once_however_often_it_is_sent(book):
    door = client(book)
    answers = [door.post("/events", json=event(), headers=BEARER) for _ in range(3)]
    assert [a.status_code for a in answers] == [202, 202, 202]
    assert [a.json()["new"] for a in answers] == [1, 0, 0]
    (cause,) = book.waiting()
    assert (cause.id, cause.kind) == ("lake#1", Kind.LANDED)


def test_binary_cloud_events_and_notifications_of_s3_are_read_too(book):
    door = client(book)
    binary = {"ce-id": "7", "ce-source": "shop", "ce-type": "ostinato.run.asked", **BEARER}
    assert door.post("/events", content=b'{"why": "a sale"}', headers=binary).status_code == 202
    bare = {"Records": [s3(), s3(), s3(happened="ObjectRemoved:Delete")]}
    assert door.post("/events", json=bare, headers=BEARER).json() == {"received": 2, "new": 1}
    wrapped = {**event("8", "aws.s3"), "data": {"Records": [s3(sequencer="A2")]}}
    assert door.post("/events", json=wrapped, headers=BEARER).json()["new"] == 1
    assert {cause.why for cause in book.waiting()} == {
        "a sale",
        "s3://lake/raw/log 1.csv was written",
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "no event"),
        (b"7", "JSON object"),
        (json.dumps(event(kind="shop.closed")).encode(), "starts no run"),
        (json.dumps(event(name="")).encode(), "id must be"),
        (json.dumps(event(name="x" * 501)).encode(), "id must be"),
        (json.dumps(event(colour="red")).encode(), "unknown fields: colour"),
        (json.dumps({"Records": [{"eventName": "ObjectCreated:Put"}]}).encode(), "S3"),
        (json.dumps({"Records": [s3(sequencer={"A": 1})]}).encode(), "sequencer"),
        (json.dumps({"Records": [s3() | {"s3": {"bucket": {"name": 7}}}]}).encode(), "S3"),
        (b"[" * 4000, "nested too deeply"),
        (b'{"a":' * 600 + b"1" + b"}" * 600, "type must be"),
        (b"\xff", "not JSON"),
        (json.dumps(event(name="\ud800")).encode(), "id must be"),
        (json.dumps(event(why=7)).encode(), "why must be"),
    ],
)
def test_what_is_no_such_event_is_refused_with_the_field(book, body, words):
    answer = client(book).post("/events", content=body, headers=BEARER)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert not book.waiting()


def test_one_wrong_event_of_several_spoils_all(book):
    both = [event("1"), event("2", kind="shop.closed")]
    assert client(book).post("/events", json=both, headers=BEARER).status_code == 400
    assert not book.waiting()


def test_data_that_are_not_there_are_refused(book):
    def look(causes):
        raise NoSuchDataError(f"there is no {causes[0].data_version}")

    told = client(book, look).post("/events", json=event(data_version="d-1"), headers=BEARER)
    assert (told.status_code, told.json()["error"]) == (422, "there is no d-1")
    assert not book.waiting()


def test_where_s3_throttles_the_sender_is_told_to_come_back(book):
    throttled = [StorageError("s3://lake: SlowDown")]

    def look(cause):
        if throttled:
            raise throttled.pop()

    door = client(book, look)
    told = door.post("/events", json=event(), headers=BEARER)
    assert told.status_code == 503
    assert int(told.headers["retry-after"]) > 0
    assert "SlowDown" in told.json()["error"]
    assert not book.waiting()
    assert door.post("/events", json=event(), headers=BEARER).status_code == 202
    assert len(book.waiting()) == 1


def test_a_signed_request_is_let_in_and_a_changed_or_old_one_is_not(book):
    door, body, now = client(book), json.dumps(event()).encode(), str(int(time.time()))
    signed = {MOMENT: now, SIGNATURE: signature(SECRET, now, body)}
    assert door.post("/events", content=body + b" ", headers=signed).status_code == 401
    old = str(int(time.time()) - 1000)
    stale = {MOMENT: old, SIGNATURE: signature(SECRET, old, body)}
    assert door.post("/events", content=body, headers=stale).status_code == 401
    assert door.post("/events", content=body, headers=signed).status_code == 202


def test_a_signature_starts_one_run_however_often_it_is_copied(book):
    """It covers the body alone: an envelope in headers could be another one each time."""
    door, body, now = client(book), b"{}", str(int(time.time()))
    signed = {MOMENT: now, SIGNATURE: signature(SECRET, now, body)}
    for name in ("1", "2"):
        binary = {"ce-id": name, "ce-source": "shop", "ce-type": "ostinato.run.asked"}
        told = door.post("/events", content=body, headers={**signed, **binary})
        assert (told.status_code, "structured" in told.json()["error"]) == (400, True)
    assert not book.waiting()
    body = json.dumps(event(kind="ostinato.run.asked")).encode()
    signed = {MOMENT: now, SIGNATURE: signature(SECRET, now, body)}
    told = [door.post("/events", content=body, headers=signed).json()["new"] for _ in range(3)]
    assert told == [1, 0, 0]


def test_one_notification_is_one_look_and_none_is_one_too_many(book):
    looks: list[int] = []
    door = client(book, lambda causes: looks.append(len(causes)), most=65536)
    records = [s3(f"raw/{number}.csv", f"A{number}") for number in range(200)]
    told = door.post("/events", json={"Records": records}, headers=BEARER)
    assert (told.status_code, told.json()) == (202, {"received": 200, "new": 200})
    assert looks == [200]
    gone = {"Records": [s3(happened="ObjectRemoved:Delete")]}
    assert door.post("/events", json=gone, headers=BEARER).json() == {"received": 0, "new": 0}


def test_events_of_different_sources_are_different_whatever_they_are_called(book):
    door = client(book)
    for source, name in (("a#", "b"), ("a", "#b"), ("a%23", "b"), ("a%2523", "b")):
        sent = {**event(name), "source": source}
        assert door.post("/events", json=sent, headers=BEARER).json()["new"] == 1


def test_a_reason_that_is_long_is_cut_and_the_run_is_not_lost(book):
    told = client(book).post("/events", json=event(why="x" * 900), headers=BEARER)
    assert told.status_code == 202
    assert len(book.waiting()[0].why) == 500


def test_who_can_be_neither_read_nor_told_is_not_our_mistake(book):
    """Whatever comes unasked for is refused, and never a defect: those are seen by people."""
    door = client(book)
    for moment in ("1" * 5000, "٣" * 9, "-1", "1e9", "", "9" * 30):
        headers = {MOMENT: moment.encode(), SIGNATURE: b"sha256=\xff"}
        assert door.post("/events", content=b"{}", headers=headers).status_code == 401
        assert door.get("/status", headers=headers).status_code == 401


def test_a_book_that_cannot_be_written_makes_the_sender_try_again(book, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(book, "add", full)
    told = client(book).post("/events", json=event(), headers=BEARER)
    assert (told.status_code, told.headers["retry-after"]) == (503, "10")


def test_what_is_refused_is_in_the_log(book, caplog):
    """Whoever sent it may not hear the answer: Argo Events drops what is refused for good."""
    client(book).post("/events", json=event(kind="shop.closed"), headers=BEARER)
    assert "refused (400): type 'shop.closed' starts no run" in caplog.text


@contextlib.contextmanager
def over_http(app):
    """Serve an application as `ostinato trigger serve` does, on a port that is free."""
    server = uvicorn.Server(serving(app, "127.0.0.1", 0))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def test_callers_cannot_say_who_they_are(book):
    app = make_app(book, Guard(TOKEN, None, 300, 2), 4096, lambda causes: None)
    with over_http(app) as address:
        codes = [
            httpx.post(
                f"{address}/events",
                json=event(),
                headers={**BEARER, "x-forwarded-for": f"10.0.0.{number}"},
                timeout=60,
            ).status_code
            for number in range(4)
        ]
    assert codes == [202, 202, 429, 429]


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {SIGNATURE: "sha256=00"}],
)
def test_nobody_else_is_let_in(book, headers):
    door = client(book)
    assert door.post("/events", json=event(), headers=headers).status_code == 401
    assert door.get("/status", headers=headers).status_code == 401
    assert door.get("/healthz").status_code == 200
    assert not book.waiting()


def test_a_body_that_is_too_large_is_not_read_to_its_end(book):
    def endless():
        for _ in range(1000):
            yield b"x" * 1024

    answer = client(book).post("/events", content=endless(), headers=BEARER)
    assert answer.status_code == 413


def test_too_many_requests_of_one_caller_are_told_to_wait(book):
    door = client(book, per_minute=3)
    codes = [door.post("/events", json=event(), headers=BEARER).status_code for _ in range(5)]
    assert codes == [202, 202, 202, 429, 429]


def test_a_minute_later_the_caller_is_heard_again():
    now = [0.0]
    guard = Guard(None, None, 300, 2, lambda: now[0])
    assert [guard.too_often("a") for _ in range(3)] == [False, False, True]
    assert guard.too_often("b") is False
    now[0] = 60.5
    assert guard.too_often("a") is False


def test_without_a_secret_only_this_machine_may_be_listened_on():
    assert secrets_of({}, "127.0.0.1") == (None, None)
    with pytest.raises(ConfigError, match="can be reached by others"):
        secrets_of({}, "0.0.0.0")
    with pytest.raises(ConfigError, match="it needs 16 or more"):
        secrets_of({"OSTINATO_TRIGGER_TOKEN": "short"}, "127.0.0.1")


def test_the_status_tells_what_waits(book):
    door = client(book)
    door.post("/events", json=event(kind="ostinato.run.asked", why="a sale"), headers=BEARER)
    assert door.get("/status", headers=BEARER).json() == {"waiting": ["a sale"], "runs": []}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["Records", "type", "id", "source", "data", "s3"]), x)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(body):
    with contextlib.suppress(InvalidCauseError):
        assert all(cause.id and cause.why for cause in read(body))


def test_prometheus_sees_runs_waiting_causes_and_drift_without_a_token(book):
    from pipelines.triggers.metrics import TriggerMetrics
    from recommender.config.triggers import TriggersConfig

    now = time.time()
    at_once = TriggersConfig(debounce_s=0, pause_s=0, concurrency=2)
    for name in ("one", "two"):
        book.add(read(event(name)), now - 1)
        assert book.claim(name, at_once, now) is not None
    book.ended("one", "SUCCEEDED", "", now + 60)
    book.add(read(event("three")), now)
    metrics = TriggerMetrics(book)
    metrics.drifted({"popularity": (0.4, 0.3), "event types": (None, 0.25)})
    guard = Guard(TOKEN, SECRET, 300, 1000)
    door = TestClient(make_app(book, guard, 4096, lambda causes: None, metrics=metrics))
    lines = door.get("/metrics").text.splitlines()
    assert 'ostinato_triggered_runs{state="SUCCEEDED"} 1.0' in lines
    assert 'ostinato_triggered_runs{state="STARTING"} 1.0' in lines
    (ended,) = [
        line for line in lines if line.startswith("ostinato_triggered_run_last") and "SUCC" in line
    ]
    assert float(ended.split()[1]) == pytest.approx(now + 60)
    assert "ostinato_trigger_causes_waiting 1.0" in lines
    assert 'ostinato_drift{figure="popularity"} 0.4' in lines
    assert 'ostinato_drift_limit{figure="event types"} 0.25' in lines
    assert not any(line.startswith('ostinato_drift{figure="event') for line in lines)
