"""Events over HTTP: 200 only after their effects, and every other answer says what to do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import trustme
import yaml
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from starlette.testclient import TestClient
from streamed_shop import KINDS, given, open_store
from tables_by_hand import ACTIONS

from feature_repo.stream.apply import EventSink
from feature_repo.stream.batching import Batches, TooManyWaitingError
from feature_repo.stream.cloud_events import BATCH
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.http import checked_token, main
from feature_repo.stream.http_app import make_app
from feature_repo.stream.landing import Landing
from feature_repo.stream.metrics import StreamMetrics
from feature_repo.stream.working import Worker
from recommender.config.stream import StreamConfig
from recommender.errors import ConfigError, StorageError

TOKEN = "a token of many characters"
STREAM = StreamConfig(max_body_kib=8, compact_files=1_000)


@pytest.fixture
def client(sink):
    worker = Worker(sink, StreamMetrics("http"), STREAM.compact_files)
    with TestClient(make_app(worker, STREAM, TOKEN)) as opened:
        opened.headers["Authorization"] = f"Bearer {TOKEN}"
        yield opened


def envelope(event, number=0):
    return CloudEvent({"type": "shop.event", "source": "/shop", "id": f"c{number}"}, event)


def batch(*events):
    bodies = [json.loads(to_structured(envelope(e, n))[1]) for n, e in enumerate(events)]
    return {"content": json.dumps(bodies), "headers": {"Content-Type": BATCH}}


def send(client, mode, event):
    headers, body = mode(envelope(event))
    return client.post("/events", content=body, headers=headers)


def ids(store, user="u1"):
    (row,) = store.rows("user_sequence", "user_id", [user])
    return [] if row is None else row["event_ids"]


@pytest.mark.parametrize("mode", [to_binary, to_structured])
def test_an_event_is_in_the_sequence_when_the_answer_comes(client, store, sink, mode):
    answer = send(client, mode, given("e1"))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})
    assert ids(store) == ["e1"]
    assert sink.landing.read().events["event_id"].to_pylist() == ["e1"]
    assert send(client, mode, given("e1")).status_code == 200
    assert ids(store) == ["e1"]


def test_a_batch_is_taken_as_a_whole(client, store):
    assert client.post("/events", **batch(given("e1"), given("e2"))).json() == {"accepted": 2}
    assert ids(store) == ["e1", "e2"]
    assert client.post("/events", **batch()).json() == {"accepted": 0}


def test_a_wrong_event_is_named_and_nothing_of_its_request_is_taken(client, store, sink):
    answer = client.post(
        "/events", **batch(given("e1"), given("e2", user_id=7), given("e3", time=None))
    )
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"] == "2 of 3 events are wrong; none was taken"
    assert told["field"] == "user_id"
    assert told["events"][0] == {
        "index": 1,
        "error": "user_id is 7: int, not text",
        "field": "user_id",
    }
    assert told["events"][1]["field"] == "time"
    assert ids(store) == []
    assert sink.landing.files() == 0


def test_what_is_no_cloud_event_is_a_wrong_request(client):
    answer = client.post("/events", content=b"hello", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["field"]) == (400, "cloudevent")


@pytest.mark.parametrize(
    "given_header",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"],
)
def test_without_the_token_nobody_is_let_in(client, given_header):
    client.headers["Authorization"] = given_header
    answer = send(client, to_structured, given())
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_scheme_may_be_written_in_any_case(client):
    client.headers["Authorization"] = f"bearer {TOKEN}"
    assert send(client, to_structured, given()).status_code == 200


def test_a_body_that_is_too_large_is_refused(client, store):
    assert client.post("/events", content=b"x" * 9_000).status_code == 413
    endless = (b"x" * 1_000 for _ in range(100))
    assert client.post("/events", content=endless).status_code == 413
    assert ids(store) == []


def test_what_cannot_land_is_answered_503_and_taken_later(client, store, sink, tmp_path):
    folder = tmp_path / "offline"
    folder.write_text("a file where the folder should be")
    answer = send(client, to_structured, given("e1"))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert ids(store) == []
    assert client.get("/readyz").status_code == 503
    folder.unlink()
    assert send(client, to_structured, given("e1")).status_code == 200
    assert ids(store) == ["e1"]
    assert client.get("/readyz").status_code == 200


def test_the_figures_tell_what_became_of_the_events(client):
    client.post("/events", **batch(given("e1"), given("e1"), given("e2", event="impression")))
    client.post("/events", **batch(given("e3", user_id=None)))
    client.headers.pop("Authorization")
    figures = client.get("/metrics").text
    for outcome, count in (("kept", 1), ("repeated", 1), ("aside", 1), ("rejected", 1)):
        assert f'events_total{{outcome="{outcome}",source="http"}} {count}.0' in figures
    assert 'ostinato_stream_lag_seconds_count{source="http"} 3.0' in figures
    assert 'ostinato_stream_batch_events_sum{source="http"} 3.0' in figures
    assert client.get("/healthz").text == "ok"


def test_requests_at_the_same_time_share_batches_and_lose_nothing(client, store):
    def sending(part):
        for n in range(10):
            assert client.post("/events", **batch(given(f"{part}-{n}", user_id=f"u{n}"))).is_success

    threads = [threading.Thread(target=sending, args=(part,)) for part in "abcde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(10):
        assert sorted(ids(store, f"u{n}")) == [f"{part}-{n}" for part in "abcde"]


def test_files_are_joined_in_the_background(store, landing, rules):
    worker = Worker(EventSink(store, landing, rules), StreamMetrics("http"), 3)
    for n in range(3):
        worker.apply([StreamEvent(f"e{n}", "u1", "a", "click", n)], 1.0)
    worker.close()
    assert landing.files() == 1
    assert landing.read().events["event_id"].to_pylist() == ["e0", "e1", "e2"]


class Slow:
    """Applies what it is given, and remembers how it was cut."""

    def __init__(self):
        self.sizes, self.free = [], threading.Event()

    def __call__(self, events):
        self.free.wait(10)
        if "bad" in events:
            raise StorageError("no room")
        self.sizes.append(len(events))


def test_events_of_many_requests_become_one_batch():
    async def scenario():
        slow = Slow()
        batches = Batches(slow, size=4, linger_s=5.0)
        batches.start()
        first = [asyncio.create_task(batches.submit([n])) for n in range(4)]
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(batches.submit([n])) for n in range(3)]
        slow.free.set()
        await asyncio.gather(*first)
        await batches.submit([9])
        await asyncio.gather(*rest)
        await batches.stop()
        return slow.sizes

    assert asyncio.run(scenario()) == [4, 4]


def test_whoever_shares_a_failed_batch_is_told_and_the_next_goes_on():
    async def scenario():
        slow = Slow()
        slow.free.set()
        batches = Batches(slow, size=2, linger_s=0.2)
        batches.start()
        told = await asyncio.gather(
            batches.submit(["bad"]), batches.submit(["good"]), return_exceptions=True
        )
        await batches.submit(["next"])
        await batches.stop()
        return told, slow.sizes

    told, sizes = asyncio.run(scenario())
    assert [str(error) for error in told] == ["no room", "no room"]
    assert sizes == [1]


def test_a_queue_that_is_full_refuses_more():
    async def scenario():
        slow = Slow()
        batches = Batches(slow, size=1, linger_s=0, most_waiting=2)
        batches.start()
        waiting = [asyncio.create_task(batches.submit([n])) for n in range(3)]
        await asyncio.sleep(0.05)
        waiting.append(asyncio.create_task(batches.submit([4])))
        told = await asyncio.gather(batches.submit([5]), return_exceptions=True)
        slow.free.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        await batches.stop()
        return [*told, *done], len(slow.sizes)

    told, applied = asyncio.run(scenario())
    refused = [each for each in told if isinstance(each, TooManyWaitingError)]
    assert refused
    assert applied == len(told) - len(refused)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org"])
def test_others_may_only_connect_with_a_token(host, monkeypatch):
    monkeypatch.delenv("OSTINATO_STREAM_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="OSTINATO_STREAM_TOKEN is not set"):
        checked_token(host)
    monkeypatch.setenv("OSTINATO_STREAM_TOKEN", TOKEN)
    assert checked_token(host) == TOKEN


def test_a_short_token_is_refused_and_loopback_needs_none(monkeypatch):
    monkeypatch.delenv("OSTINATO_STREAM_TOKEN", raising=False)
    assert [checked_token(host) for host in ("127.0.0.1", "::1", "localhost")] == [None] * 3
    monkeypatch.setenv("OSTINATO_STREAM_TOKEN", "short")
    with pytest.raises(ConfigError, match="has 5 characters"):
        checked_token("127.0.0.1")


def test_the_program_says_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml")]) == 1
    assert "does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "CloudEvents 1.0" in capsys.readouterr().out


@pytest.mark.needs_redis
@pytest.mark.slow
def test_the_program_speaks_tls_outlives_a_redis_outage_and_ends_in_order(
    redis_server, tmp_path, monkeypatch
):
    config = tmp_path / "shop.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "shop",
                "workspace": str(tmp_path / "space"),
                "source": {"kind": "synthetic"},
                "actions": ACTIONS,
            }
        )
    )
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "cert.pem").write_bytes(b"".join(p.bytes() for p in certificate.cert_chain_pems))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = open_store(redis_server.connection)
    environment = {
        **os.environ,
        "OSTINATO_PROFILE": "production",
        "OSTINATO_REDIS": redis_server.connection,
        "OSTINATO_REGISTRY": f"sqlite:///{tmp_path}/registry.db",
        "OSTINATO_OFFLINE": str(tmp_path / "offline"),
        "OSTINATO_STREAM_TOKEN": TOKEN,
    }
    words = ["-m", "feature_repo.stream.http", str(config), "--port", str(port)]
    words += ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    redis_server.stop()  # down when the program starts
    program = subprocess.Popen(
        [sys.executable, *words], env=environment, cwd=Path(__file__).parents[3]
    )
    try:
        import ssl

        trust = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trust, timeout=30) as client:
            client.headers["Authorization"] = f"Bearer {TOKEN}"
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    assert client.get("/healthz").text == "ok"
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            answer = send(client, to_structured, given("e1"))
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)

            redis_server.start()
            store.declare("user_sequence", "user_id", KINDS)
            assert send(client, to_structured, given("e1")).status_code == 200
            assert ids(store) == ["e1"]

            redis_server.suspend()  # it hangs in mid-run
            assert send(client, to_binary, given("e2")).status_code == 503
            redis_server.resume()
            assert send(client, to_binary, given("e2")).status_code == 200
            assert ids(store) == ["e1", "e2"]
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) in (0, -signal.SIGTERM)
    finally:
        redis_server.resume()
        program.kill()
        program.wait()
    landed = Landing(str(tmp_path / "offline" / "shop")).read()
    assert landed.events["event_id"].to_pylist() == ["e1", "e2"]
