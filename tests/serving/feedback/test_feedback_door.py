"""The feedback endpoint over HTTP, with its ledger on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from recommender.config.feedback import FeedbackConfig
from recommender.errors import StorageError
from recommender.privacy import Pseudonyms
from recommender.served_store import ServedStore
from serving.feedback.door import PATH, Door
from serving.feedback.ledger import Ledger, remove_from
from serving.feedback.outbox import Outbox
from serving.feedback.report import Feedback
from serving.feedback.request_id import SignedIds
from serving.served_log.sinks import ParquetSink

NAMES = Pseudonyms(b"a key of sixteen bytes or more")
IDS = SignedIds(NAMES, 60.0)
ACTIONS = ("impression", "click", "purchase")


def now() -> int:
    return time.time_ns() // 1_000_000


def request_id(user: str | None = "ann", before_ms: int = 0, *items: str) -> str:
    return IDS.make(user, "m-1", "live", items or ("a", "b"), now() - before_ms)


@pytest.fixture
def counts() -> dict[str, int]:
    return {}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "feedback" / "outbox.db")
    yield opened
    opened.close()


def client_of(ledger: Ledger, counts: dict[str, int], **config: Any) -> TestClient:
    def count(outcome: str, more: int) -> None:
        counts[outcome] = counts.get(outcome, 0) + more

    app = FastAPI()
    Door(IDS, ledger, FeedbackConfig(**config), ACTIONS, count=count).add_to(app)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def tell(ledger: Ledger, counts: dict[str, int]) -> Callable[..., httpx.Response]:
    client = client_of(ledger, counts, max_body_kib=1, max_batch=3)
    return lambda **body: client.post(PATH, json=body)


def told(answer: httpx.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()
    return found


def waiting(ledger: Ledger) -> list[Feedback]:
    taken: list[Feedback] = []
    ledger.drain(taken.extend, 1000)
    return taken


def test_each_action_on_an_item_of_a_list_counts_once(
    tell: Callable[..., httpx.Response], ledger: Ledger, counts: dict[str, int]
) -> None:
    name = request_id()
    first = {"request_id": name, "item_id": "a", "action": "click"}
    assert told(tell(**first)) == {"counted": 1, "repeated": 0, "streamed": 0}
    assert told(tell(**first, value=3.0)) == {"counted": 0, "repeated": 1, "streamed": 0}
    batch = [first, first | {"item_id": "b"}, first | {"action": "purchase", "value": 9.5}]
    assert told(tell(feedback=batch)) == {"counted": 2, "repeated": 1, "streamed": 0}
    rows = waiting(ledger)
    assert sorted((row.item_id, row.action, row.value) for row in rows) == [
        ("a", "click", None),
        ("a", "purchase", 9.5),
        ("b", "click", None),
    ]
    assert len({row.event_id for row in rows}) == 3
    assert counts == {"counted": 3, "repeated": 2}


def test_what_was_told_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    body = {"request_id": request_id(), "item_id": "a", "action": "click"}
    for expected in (1, 0):
        ledger = Ledger(path)  # the first one is never closed: it was killed
        answer = client_of(ledger, {}).post(PATH, json=body)
        assert told(answer)["counted"] == expected
    assert len(waiting(ledger)) == 1
    assert waiting(ledger) == []  # written; and still known
    assert told(client_of(ledger, {}).post(PATH, json=body))["repeated"] == 1


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"item_id": "z"}, 404, "item_id 'z' was not in that list"),
        ({"action": "steal"}, 400, "action 'steal' is unknown; known are impression, click"),
        ({"request_id": "made-up"}, 403, "request_id is none of ours"),
        ({"request_id": request_id(before_ms=61_000)}, 410, "request_id has expired"),
        ({"user_id": "bob"}, 403, "user_id is not whom the list was made for"),
        ({"time": 5}, 400, "time is before the list was made"),
        ({"time": now() + 3_600_000}, 400, "time is ahead"),
        ({"time": "yesterday"}, 400, "time: no ISO 8601 moment"),
        ({"time": "2026-01-01T00:00:00"}, 400, "time: without a time zone"),
        ({"value": "nine"}, 400, "value: Input should be a valid number"),
        ({"itemid": "a"}, 400, "itemid: unknown key"),
        ({"item_id": None}, 400, "item_id: Input should be a valid string"),
    ],
)
def test_what_is_wrong_is_refused_and_named(
    tell: Callable[..., httpx.Response],
    ledger: Ledger,
    change: dict[str, Any],
    status: int,
    said: str,
) -> None:
    body = {"request_id": request_id(), "item_id": "a", "action": "click"} | change
    answer = tell(**body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert waiting(ledger) == []


def test_of_a_batch_with_one_wrong_entry_nothing_is_kept(
    tell: Callable[..., httpx.Response], ledger: Ledger, counts: dict[str, int]
) -> None:
    good = {"request_id": request_id(), "item_id": "a", "action": "click"}
    answer = tell(feedback=[good, good | {"item_id": "z"}])
    assert answer.status_code == 404
    assert "1 of 2 are wrong; none was kept" in answer.json()["error"]
    assert [each["index"] for each in answer.json()["feedback"]] == [1]
    assert waiting(ledger) == []
    assert counts == {"refused": 2}


def test_bodies_are_bounded(ledger: Ledger, tell: Callable[..., httpx.Response]) -> None:
    good = {"request_id": request_id(), "item_id": "a", "action": "click"}
    assert tell(**good, padding="x" * 2000).status_code == 413
    small = client_of(ledger, {}, max_batch=3)
    answer = small.post(PATH, json={"feedback": [good] * 4})
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "feedback: 4 entries; 3 at most are taken",
    )
    for body in (b"", b"[]", b"{", b"\xff"):
        answer = small.post(PATH, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("send JSON")
    assert small.post(PATH, json={"feedback": []}).status_code == 400


def test_moments_come_as_numbers_or_text_and_never_before_the_list(
    tell: Callable[..., httpx.Response], ledger: Ledger
) -> None:
    name = request_id(before_ms=10_000)
    list_ms = IDS.read(name, now()).time
    body = {"request_id": name, "action": "click"}
    assert told(tell(**body, item_id="a", time=list_ms - 1000))["counted"] == 1
    moment = datetime.fromtimestamp((list_ms + 5) / 1000, UTC).isoformat(timespec="milliseconds")
    assert told(tell(**body, item_id="b", time=moment))["counted"] == 1
    times = {row.item_id: row.time for row in waiting(ledger)}
    assert times == {"a": list_ms, "b": list_ms + 5}


def test_a_full_disk_is_a_503_that_can_be_tried_again(
    ledger: Ledger, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(ledger, counts)
    body = {"request_id": request_id(), "item_id": "a", "action": "click"}
    ledger._db.execute("PRAGMA query_only=ON")
    answer = client.post(PATH, json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    ledger._db.execute("PRAGMA query_only=OFF")
    assert told(client.post(PATH, json=body))["counted"] == 1
    assert counts == {"failed": 1, "counted": 1, "repeated": 0}


def test_what_a_sink_does_not_take_waits_for_it(ledger: Ledger, tmp_path: Path) -> None:
    row = Feedback("e1", "r1", "a", "click", 5, None, now())
    assert ledger.take([row]) == [True]

    def refuse(_: object) -> None:
        raise StorageError("away")

    with pytest.raises(StorageError):
        ledger.drain(refuse, 10)
    store = ServedStore(tmp_path)
    outbox = Outbox(ledger, ParquetSink(store), every_s=60.0, keep_s=60.0)
    outbox.close()  # writes what waits
    table = store.read("feedback")
    assert table["event_id"].to_pylist() == ["e1"]
    assert waiting(ledger) == []
    assert ledger.take([row]) == [False]
    ledger.prune(now() + 1)
    assert ledger.take([row]) == [True]


def test_one_persons_feedback_leaves_no_byte_behind(ledger: Ledger) -> None:
    hers, his = request_id("ann"), request_id("bob")
    for name in (hers, his):
        ledger.take([Feedback(name[:20], name, "a", "click", 5, None, 5)])
    assert remove_from(ledger.path, lambda name: IDS.belongs(name, "ann")) == 1
    assert remove_from(ledger.path, lambda name: IDS.belongs(name, "ann")) == 0
    assert [row.request_id for row in waiting(ledger)] == [his]
    ledger.close()
    files = list(ledger.path.parent.glob("outbox.db*"))
    assert not any(hers.encode() in path.read_bytes() for path in files)
    assert remove_from(ledger.path.with_name("none.db"), lambda _: True) == 0


def test_each_counted_action_is_counted_once_for_the_version_of_its_list(ledger: Ledger) -> None:
    acted: list[tuple[str, str]] = []
    app = FastAPI()
    config = FeedbackConfig()
    Door(IDS, ledger, config, ACTIONS, acted=lambda *what: acted.append(what)).add_to(app)
    client = TestClient(app)
    body = {"request_id": request_id(), "item_id": "a", "action": "click"}
    for _ in range(2):
        assert client.post(PATH, json=body).status_code == 200
    refused = client.post(PATH, json={**body, "item_id": "zzz", "action": "purchase"})
    assert refused.status_code == 404
    assert acted == [("m-1", "click")]
