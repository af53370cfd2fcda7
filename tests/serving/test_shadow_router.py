"""What the router copies and what it writes down: a real process between real HTTP servers."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from upstreams import Upstream

from recommender.privacy import pseudonyms
from recommender.workspace import Workspace
from serving import observed, processes, routes
from serving.observed import Reader, Writer
from serving.processes import Command, Server
from serving.routes import Arm, Routes, Shadow
from serving.split import ranked

PREDICT = "/v1/models/ostinato:predict"
Start = Callable[[str], Upstream]
CLIENT = httpx.Client(timeout=20, trust_env=False)


def start_router(workspace: Workspace) -> Server:
    path = workspace.serving / "routes.json"
    arguments = ["--routes", str(path), "--keys", str(workspace.keys)]
    command = Command("router", "router", "serving.router", arguments, "/healthz")
    return processes.start(workspace, command, host="127.0.0.1")


@pytest.fixture(scope="module")
def router(workspace: Workspace) -> Server:
    return start_router(workspace)


@pytest.fixture
def put(workspace: Workspace, router: Server) -> Iterator[Callable[[Routes], None]]:
    path = workspace.serving / "routes.json"
    for kind in ("live", "shadow"):
        Reader(observed.folder_of(path) / kind).clear()
    yield lambda wanted: routes.write(path, wanted)
    routes.write(path, Routes())


def ask(router: Server, user: str, count: int = 1) -> list[httpx.Response]:
    body = {"instances": [{"user_id": user, "k": 3}]}
    return [CLIENT.post(router.url + PREDICT, json=body) for _ in range(count)]


def rows(workspace: Workspace, kind: str, count: int) -> list[dict[str, object]]:
    """Wait for so many rows and return them."""
    folder = observed.folder_of(workspace.serving / "routes.json") / kind
    reader, found = Reader(folder), []
    end = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} rows of {count}"
        found += reader.take()
        time.sleep(0.05)
    return found


def test_what_a_split_lane_answers_is_written_down_by_the_users_own_arm(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    old, new = upstream("m-old"), upstream("m-new")
    split = (Arm(old.url, "m-old", 75), Arm(new.url, "m-new", 25))
    put(Routes(live=split))
    users = [f"u{number}" for number in range(24)]
    for user in users:
        ask(router, user)
    found = rows(workspace, "live", 24)
    names = pseudonyms(workspace.keys)
    own = {names.of(user): ranked(split, "", user)[0].version for user in users}
    assert {row["user"]: row["version"] for row in found} == own
    assert {row["percent"] for row in found} == {25.0}
    assert {(row["status"], row["error"]) for row in found} == {(200, "")}
    assert all(row["latency_ms"] > 0 for row in found)
    assert "u3" not in json.dumps(found), "pseudonyms only"


def test_a_single_arm_leaves_nothing_behind(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    put(Routes(live=(Arm(upstream("m-old").url, "m-old"),)))
    ask(router, "u", 5)
    time.sleep(2 * observed.FLUSH_S)
    assert Reader(observed.folder_of(workspace.serving / "routes.json") / "live").take() == []


def test_a_dead_candidate_costs_nobody_an_answer_and_all_its_failures_are_told(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    old, dead = upstream("m-old"), upstream("m-dead")
    dead.stop()
    split = (Arm(old.url, "m-old", 50), Arm(dead.url, "m-dead", 50))
    put(Routes(live=split))
    users = [f"u{number}" for number in range(20)]
    assert {ask(router, user)[0].status_code for user in users} == {200}
    found = rows(workspace, "live", 20)
    doomed = sum(ranked(split, "", user)[0].version == "m-dead" for user in users)
    failed = [row for row in found if row["error"]]
    assert len(failed) == doomed > 0
    assert {row["version"] for row in failed} == {"m-dead"}


def test_an_arm_without_weight_stands_in_where_the_others_are_down(
    router: Server, put: Callable[[Routes], None], upstream: Start
) -> None:
    old, dead = upstream("m-old"), upstream("m-dead")
    put(Routes(live=(Arm(old.url, "m-old", 0), Arm(dead.url, "m-dead", 100))))
    dead.stop()
    assert ask(router, "u")[0].json()["version"] == "m-old"


def listing(version: str, *items: str) -> dict[str, object]:
    scored = [{"item_id": item, "score": 1.0 - n / 10} for n, item in enumerate(items)]
    return {"predictions": [{"items": scored, "model_version": version}]}


def test_a_shadow_gets_copies_that_are_compared_and_shown_to_nobody(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    old, shadow = upstream("m-old"), upstream("m-new")
    old.answer = listing("m-old", "a", "b", "c", "d")
    shadow.answer = listing("m-new", "b", "a", "c", "x")
    put(Routes(live=(Arm(old.url, "m-old"),), shadow=Shadow(shadow.url, "m-new")))
    told = ask(router, "ann", 5)
    assert [answer.json() for answer in told] == [old.answer] * 5
    found = rows(workspace, "shadow", 5)
    assert shadow.requests == 5
    assert {row["overlap"] for row in found} == {0.75}
    assert {row["rank_correlation"] for row in found} == {0.5}
    assert {row["user"] for row in found} == {pseudonyms(workspace.keys).of("ann")}
    assert {row["error"] for row in found} == {""}


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [(500, None, "HTTP 500"), (200, {"predictions": []}, "no valid answer")],
)
def test_a_shadow_that_breaks_is_only_heard_of(
    router: Server,
    put: Callable[[Routes], None],
    upstream: Start,
    workspace: Workspace,
    status: int,
    answer: dict[str, object] | None,
    words: str,
) -> None:
    old, shadow = upstream("m-old"), upstream("m-new")
    old.answer, shadow.answer, shadow.status = listing("m-old", "a"), answer, status
    put(Routes(live=(Arm(old.url, "m-old"),), shadow=Shadow(shadow.url, "m-new")))
    assert {told.status_code for told in ask(router, "ann", 4)} == {200}
    assert all(words in str(row["error"]) for row in rows(workspace, "shadow", 4))


def test_a_shadow_that_hangs_delays_nobody_and_its_queue_is_bounded(
    router: Server, put: Callable[[Routes], None], upstream: Start
) -> None:
    old, shadow = upstream("m-old"), upstream("m-new")
    old.answer, shadow.delay_s = listing("m-old", "a"), 3.0
    put(Routes(live=(Arm(old.url, "m-old"),), shadow=Shadow(shadow.url, "m-new", queue=6)))
    before = CLIENT.get(f"{router.url}/routes").json()["shadow"]["counts"]
    started = time.monotonic()
    assert {told.status_code for told in ask(router, "ann", 40)} == {200}
    assert time.monotonic() - started < 2.5, "forty answers came before the first copy's"
    after = CLIENT.get(f"{router.url}/routes").json()["shadow"]["counts"]
    assert after["left out"] - before.get("left out", 0) == 34
    assert shadow.requests <= 6


def test_only_a_share_of_the_users_is_copied_and_always_the_same(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    old, shadow = upstream("m-old"), upstream("m-new")
    old.answer = shadow.answer = listing("m", "a", "b")
    put(Routes(live=(Arm(old.url, "m-old"),), shadow=Shadow(shadow.url, "m-new", percent=40)))
    for user in [f"u{number}" for number in range(30)] * 2:
        ask(router, user)
    names = pseudonyms(workspace.keys)
    asked = {names.of(f"u{number}") for number in range(30)}
    reader = Reader(observed.folder_of(workspace.serving / "routes.json") / "shadow")
    found: list[dict[str, object]] = []
    quiet, deadline = 0, time.monotonic() + 20
    # The copies are sent beside the answers: on a busy machine the first comes late.
    while (not found or quiet < 3) and time.monotonic() < deadline:
        time.sleep(observed.FLUSH_S)
        new = [row for row in reader.take() if row["user"] in asked]
        found, quiet = found + new, 0 if new else quiet + 1
    counts: dict[object, int] = {}
    for row in found:
        counts[row["user"]] = counts.get(row["user"], 0) + 1
    assert 4 <= len(counts) <= 20
    assert set(counts.values()) == {2}


def test_the_router_restarted_in_a_step_keeps_every_user_with_his_arm(
    router: Server, put: Callable[[Routes], None], upstream: Start, workspace: Workspace
) -> None:
    """Last here, as another router takes over: the split is in the file, not in the process."""
    split = (Arm(upstream("m-old").url, "m-old", 60), Arm(upstream("m-new").url, "m-new", 40))
    put(Routes(live=split, salt="s"))
    users = [f"u{number}" for number in range(20)]
    before = {user: ask(router, user)[0].json()["version"] for user in users}
    os.kill(router.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while router.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    again = start_router(workspace)
    assert {user: ask(again, user)[0].json()["version"] for user in users} == before
    assert set(before.values()) == {"m-old", "m-new"}
    assert rows(workspace, "live", 20)


def test_what_is_read_is_removed_only_once_it_was_put_down(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.add({"n": 1})
    writer.flush()
    first = Reader(tmp_path)
    assert first.take() == [{"n": 1}]
    assert Reader(tmp_path).take() == [{"n": 1}], "the first reader was killed before it could"
    writer.add({"n": 2})
    writer.flush()
    assert first.take() == [{"n": 2}]
    assert Reader(tmp_path).take() == [{"n": 2}]


def test_rows_that_cannot_be_written_fail_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    writer = Writer(tmp_path / "file" / "below")
    writer.add({"n": 1})
    writer.flush()
    assert writer.lost == 1
