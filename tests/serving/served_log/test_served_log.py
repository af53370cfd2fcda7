"""The log of served lists: nothing is lost silently, nothing is held up."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cloudevents.http import from_http

from recommender.config.served_log import ServedLogConfig
from recommender.errors import StorageError
from recommender.served import SERVED
from recommender.served_store import ServedStore
from recommender.workspace import Workspace
from serving.feedback.report import Feedback
from serving.served_log.log import ServedLog
from serving.served_log.served_list import Failure, ServedList, table
from serving.served_log.sinks import HttpSink, Nowhere, ParquetSink, open_sink

T = 1_700_000_000_000


def one(name: str, user: str = "aa", items: Sequence[str] = ("i1", "i2")) -> ServedList:
    count = len(items)
    return ServedList(
        request_id=name,
        time=T,
        user=user,
        version="m-1",
        lane="live",
        surface="home",
        items=items,
        scores=[2.5] * count,
        propensities=[0.5] * count,
        marginals=[0.25] * count,
        policy="greedy",
        fallback=None,
        latency_ms=3.5,
    )


class Slow(Nowhere):
    """A sink that takes what it gets when it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.open = threading.Event()
        self.got: list[list[str]] = []
        self.failures = failures

    def served(self, lists: Sequence[ServedList]) -> None:
        self.open.wait(10)
        if self.failures:
            self.failures -= 1
            raise StorageError("away")
        self.got.append([each.request_id for each in lists])


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@pytest.fixture
def opened(counts: Counter[str]) -> Iterator[Callable[..., ServedLog]]:
    logs: list[ServedLog] = []

    def open_log(
        sink: Any, gone: Callable[[str], bool] = lambda _: False, **config: Any
    ) -> ServedLog:
        def count(outcome: str, more: int) -> None:
            counts[outcome] += more

        logs.append(ServedLog(sink, ServedLogConfig(**config), gone, count))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close(1)


def test_a_list_is_a_row_per_item() -> None:
    rows = table([one("r1"), one("r2", items=["i3"])])
    assert rows.schema == SERVED
    assert rows["request_id"].to_pylist() == ["r1", "r1", "r2"]
    assert rows["position"].to_pylist() == [1, 2, 1]
    assert rows["item_id"].to_pylist() == ["i1", "i2", "i3"]
    assert table([]).num_rows == 0


def test_what_waits_is_written_when_the_log_is_closed(
    opened: Callable[..., ServedLog], tmp_path: Path, counts: Counter[str]
) -> None:
    store = ServedStore(tmp_path)
    log = opened(ParquetSink(store), rotate_s=3600)
    for number in range(50):
        log.record(one(f"r{number:02}"))
    log.close()
    log.close()
    assert sorted(set(store.read("served")["request_id"].to_pylist())) == [
        f"r{number:02}" for number in range(50)
    ]
    log.record(one("late"))
    assert counts == {"written": 50, "dropped": 1}


def test_requests_that_failed_are_written_beside_the_lists(
    opened: Callable[..., ServedLog], tmp_path: Path, counts: Counter[str]
) -> None:
    store = ServedStore(tmp_path)
    log = opened(ParquetSink(store), rotate_s=3600)
    log.record(one("r1"))
    log.record(Failure("r2", 1_700_000_000_000, "aa", "m-1", "live", "ValueError", 3.5))
    log.close()
    assert set(store.read("served")["request_id"].to_pylist()) == {"r1"}
    (row,) = store.read("failed").to_pylist()
    assert (row["request_id"], row["error"], row["user"]) == ("r2", "ValueError", "aa")
    assert counts == {"written": 2}


def test_files_are_rotated_by_number_and_by_time(
    opened: Callable[..., ServedLog], counts: Counter[str]
) -> None:
    sink = Slow()
    sink.open.set()
    log = opened(sink, rotate_lists=2, rotate_s=0.05)
    for name in ("a", "b", "c"):
        log.record(one(name))
    end = time.monotonic() + 5
    while counts["written"] < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert sink.got == [["a", "b"], ["c"]]


def test_a_full_queue_drops_and_counts_and_holds_nobody_up(
    opened: Callable[..., ServedLog], counts: Counter[str]
) -> None:
    sink = Slow()
    log = opened(sink, queue=5, rotate_lists=1)
    started = time.perf_counter()
    for number in range(2000):
        log.record(one(f"r{number}"))
    spent = time.perf_counter() - started
    # One or two are with the writer, which waits for the sink.
    assert 1993 <= counts["dropped"] <= 1995
    assert spent < 1  # five hundred microseconds each would be far too much
    sink.open.set()
    log.close()
    assert counts["written"] + counts["dropped"] == 2000


def test_a_sink_that_comes_back_gets_everything_and_one_that_does_not_is_given_up(
    opened: Callable[..., ServedLog], counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    sink = Slow(failures=2)
    sink.open.set()
    log = opened(sink, attempts=3, rotate_lists=1)
    log.record(one("r1"))
    log.close()
    assert sink.got == [["r1"]]
    gone = Slow(failures=99)
    gone.open.set()
    log = opened(gone, attempts=2, rotate_lists=1)
    log.record(one("r2"))
    log.close()
    assert counts == {"written": 1, "lost": 1}
    assert "1 served lists are lost: away" in caplog.text


def test_lists_of_somebody_who_was_forgotten_meanwhile_are_left_out(
    opened: Callable[..., ServedLog], counts: Counter[str]
) -> None:
    sink = Slow()
    log = opened(sink, gone=lambda pseudonym: pseudonym == "bb")
    for name, user in (("r1", "aa"), ("r2", "bb"), ("r3", "")):
        log.record(one(name, user))
    sink.open.set()
    log.close()
    assert [name for names in sink.got for name in names] == ["r1", "r3"]
    assert counts == {"written": 2, "suppressed": 1}


class Broker(BaseHTTPRequestHandler):
    got: list[tuple[dict[str, str], bytes]]
    refuse: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        if server.refuse:
            server.refuse -= 1
            self.send_error(503)
            return
        server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def broker() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Broker)
    server.got, server.refuse = [], 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_broker_gets_cloud_events_and_is_tried_again(
    broker: Any, opened: Callable[..., ServedLog], counts: Counter[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("OSTINATO_LOG_TOKEN", "a token")
    url = f"http://127.0.0.1:{broker.server_port}/default"
    sink = open_sink(ServedLogConfig(sink="http", url=url), Workspace(Path("unused")))
    assert isinstance(sink, HttpSink)
    broker.refuse = 1
    log = opened(sink, rotate_lists=2)
    log.record(one("r1"))
    log.record(one("r2", items=["i9"]))
    log.close()
    assert counts == {"written": 2}
    events = [from_http(headers, body) for headers, body in broker.got]
    assert [event["id"] for event in events] == ["r1", "r2"]
    assert events[0]["type"] == "io.ostinato.served.v1"
    assert events[0]["source"] == "/ostinato/m-1"
    assert events[0]["time"] == "2023-11-14T22:13:20.000Z"
    assert events[0].data["user"] == "aa"
    assert events[0].data["items"][1] == {
        "item_id": "i2",
        "position": 2,
        "score": 2.5,
        "propensity": 0.5,
        "marginal": 0.25,
    }
    headers, body = broker.got[0]
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["authorization"] == "Bearer a token"
    assert json.loads(body)["specversion"] == "1.0"


def test_feedback_is_a_cloud_event_too(broker: Any) -> None:
    sink = HttpSink(f"http://127.0.0.1:{broker.server_port}/", 5.0)
    sink.feedback([Feedback("fb-1", "r1", "i1", "click", T, 2.5, T + 5)])
    event = from_http(*broker.got[0])
    assert (event["type"], event["id"]) == ("io.ostinato.feedback.v1", "fb-1")
    assert event.data["request_id"] == "r1"
    assert event.data["value"] == 2.5
    broker.refuse = 1
    with pytest.raises(StorageError, match="HTTP 503"):
        sink.feedback([Feedback("fb-2", "r1", "i1", "click", T, None, T)])
    sink.close()


def test_s3_gets_the_same_files(s3_bucket: str, tmp_path: Path) -> None:
    config = ServedLogConfig(location=f"s3://{s3_bucket}/log")
    sink = open_sink(config, Workspace(tmp_path))
    assert sink is not None
    sink.served([one("r1")])
    sink.feedback([Feedback("fb-1", "r1", "i1", "click", T, None, T)])
    sink.close()
    store = ServedStore(f"s3://{s3_bucket}/log")
    assert store.read("served")["item_id"].to_pylist() == ["i1", "i2"]
    assert store.read("feedback")["event_id"].to_pylist() == ["fb-1"]
    assert open_sink(ServedLogConfig(sink="none"), Workspace(tmp_path)) is None
