"""Held-out users ask through the real router; what the arms answer is a test's choice."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tables_by_hand import configuration

from recommender.errors import ServingError
from recommender.workspace import Workspace
from serving import launch, processes, routes
from serving.rollout.heldout import HeldOutUser
from serving.rollout.records import Arm
from serving.rollout.replay import Replay
from serving.routes import Routes

VERSIONS = {"m-old": Arm.STABLE, "m-new": Arm.CANDIDATE}


class Answering:
    """A small HTTP server in the place of a model server."""

    def __init__(self, version):
        self.version, self.asked, self.delay_s = version, [], 0.0
        self.status, self.change = 200, lambda told: told
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                instance = asked["instances"][0]
                server.asked.append(instance)
                time.sleep(server.delay_s)
                items = [{"item_id": f"i{n}", "title": "", "score": -n} for n in range(3)]
                told = {"items": items, "model_version": server.version, "fallback": None}
                content = json.dumps({"predictions": [server.change(told)]}).encode()
                self.send_response(server.status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("replay")
    made = configuration(workspace, serving={"port": 0}, rollout={"request_timeout_s": 0.6, "k": 3})
    yield made
    processes.stop_all(Workspace(workspace))


@pytest.fixture(scope="module")
def url(config):
    return launch.router(config).url


@pytest.fixture
def arms():
    started = {version: Answering(version) for version in VERSIONS}
    yield started
    for arm in started.values():
        arm.stop()


@pytest.fixture
def replay(config, url, arms):
    def make(users, percent=50):
        lane = (
            routes.Arm(arms["m-old"].url, "m-old", 100 - percent),
            routes.Arm(arms["m-new"].url, "m-new", percent),
        )
        routes.write(launch.routes_path(config.paths), Routes(rehearsal=lane))
        return Replay(config, users, url, VERSIONS)

    return make


def people(count, relevant=("i1",)):
    return [
        HeldOutUser(f"user {n}", f"pseudonym {n}", 1000 + n, frozenset(relevant))
        for n in range(count)
    ]


def observe(replay, count, seen=()):
    return [
        record for portion in replay.observe(0, seen, count, lambda: False) for record in portion
    ]


def test_each_user_asks_once_at_the_users_own_moment_and_is_recorded_in_order(replay, arms):
    users = people(120)
    records = observe(replay(users), 120)
    assert [record.user for record in records] == [user.pseudonym for user in users]
    asked = [*arms["m-old"].asked, *arms["m-new"].asked]
    assert {one["user_id"]: one["time"] for one in asked} == {u.user_id: u.time for u in users}
    assert all(one["k"] == 3 for one in asked)
    assert len(asked) == 120
    assert {record.arm for record in records} == set(Arm)
    for record in records:
        assert VERSIONS[record.version] is record.arm
        assert (record.status, record.hit, record.error) == (200, True, "")
        assert record.latency_ms > 0


def test_users_who_had_their_turn_are_passed_over(replay):
    users = people(10)
    records = observe(replay(users), 3, seen={"pseudonym 0", "pseudonym 2"})
    assert [record.user for record in records] == ["pseudonym 1", "pseudonym 3", "pseudonym 4"]
    assert len(observe(replay(users), 99)) == 10


def test_a_hit_needs_a_relevant_item_and_an_outcome(replay):
    assert observe(replay(people(1, ["i2", "far"])), 1)[0].hit is True
    assert observe(replay(people(1, ["far"])), 1)[0].hit is False
    assert observe(replay(people(1, [])), 1)[0].hit is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: {**told, "items": []}, "no items"),
        (lambda told: {**told, "items": told["items"][:1] * 2}, "an item twice"),
        (lambda told: {**told, "model_version": "m-else"}, "answered as m-else"),
        (lambda told: {"sorry": True}, "no valid answer"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(replay, arms, change, words):
    arms["m-new"].change = change
    (record,) = observe(replay(people(1), percent=100), 1)
    assert words in record.error
    assert (record.status, record.hit, record.arm) == (200, False, Arm.CANDIDATE)


def test_an_arm_that_fails_is_too_slow_or_gone_has_failed_requests_of_its_own(config, replay, arms):
    arms["m-new"].status = 500
    (record,) = observe(replay(people(1), percent=100), 1)
    assert (record.status, record.hit, record.arm) == (500, False, Arm.CANDIDATE)
    assert "HTTP 500" in record.error
    arms["m-new"].status, arms["m-new"].delay_s = 200, 0.7
    (record,) = observe(replay(people(1), percent=100), 1)
    assert record.error.startswith("took ")
    assert record.hit is False
    traffic = replay(people(1), percent=100)
    gone = routes.Arm("http://127.0.0.1:9", "m-new")
    routes.write(launch.routes_path(config.paths), Routes(rehearsal=(gone,)))
    (record,) = observe(traffic, 1)
    assert (record.status, record.arm) == (502, Arm.CANDIDATE)


def test_nobody_behind_the_router_is_no_arms_fault(config, url, replay):
    traffic = replay(people(1))
    routes.write(launch.routes_path(config.paths), Routes())
    with pytest.raises(ServingError, match="no arm"):
        observe(traffic, 1)
    with pytest.raises(ServingError, match="does not answer"):
        observe(Replay(config, people(1), "http://127.0.0.1:9", VERSIONS), 1)


def test_the_fingerprint_is_of_the_users_their_order_and_what_they_look_for(config, url):
    users = people(5)

    def fingerprint(of):
        return Replay(config, of, url, VERSIONS).fingerprint

    assert fingerprint(users) == fingerprint(people(5))
    others = (users[::-1], users[:4], people(5, ["i2"]))
    assert len({fingerprint(users), *map(fingerprint, others)}) == 4
