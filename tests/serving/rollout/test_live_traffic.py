"""Live traffic from what the router saw and from served lists joined with their feedback."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tables_by_hand import configuration

from recommender.served import FAILED, FEEDBACK, SERVED
from recommender.served_store import ServedStore
from serving.observed import Writer
from serving.rollout.live_traffic import LiveTraffic
from serving.rollout.records import Arm, Tells
from serving.rollout.target import Arrivals

OLD, NEW = "m-000000000001", "m-000000000002"
ARMS = {OLD: Arm.STABLE, NEW: Arm.CANDIDATE}
T = 1_700_000_000_000


class Place:
    """A workspace with a router's rows and served lists; time is what the test says."""

    def __init__(self, folder, *, router=True):
        live = {"look_every_s": 1.0, "attribution_s": 60.0}
        rollout = {"traffic": "live", "steps": [25, 50, 100], "live": live}
        self.config = configuration(folder, rollout=rollout)
        self.observed = folder / "observed" if router else None
        self.writer = Writer(folder / "observed")
        self.store = ServedStore(folder / "log")
        self.now = T

    def traffic(self):
        return LiveTraffic(self.config, ARMS, self.observed, self.store, lambda: self.now)

    def saw(self, user, version, **more):
        row = {
            "request": f"{user}-{more.get('time', T)}",
            "user": user,
            "time": T,
            "version": version,
            "percent": 25.0,
            "status": 200,
            "latency_ms": 5.0,
            "error": "",
        }
        self.writer.add(row | more)
        self.writer.flush()

    def served(self, request, user, version, *, time=T, lane="live"):
        rows = [
            {
                **dict.fromkeys(SERVED.names),
                "request_id": request,
                "time": time,
                "user": user,
                "version": version,
                "lane": lane,
                "position": position,
                "item_id": f"i{position}",
                "propensity": 1.0,
                "policy": "greedy",
                "latency_ms": 4.0,
            }
            for position in (1, 2)
        ]
        columns = {name: [row[name] for row in rows] for name in SERVED.names}
        self.store.write("served", pa.table(columns, schema=SERVED))

    def failed(self, request, user, version, *, time, lane="live"):
        row = [request, time, user, version, lane, "ValueError", 4.0]
        columns = dict(zip(FAILED.names, ([value] for value in row), strict=True))
        self.store.write("failed", pa.table(columns, schema=FAILED))

    def clicked(self, request, *, time):
        action = self.config.actions.successes[0]
        row = [f"e-{request}", request, "i2", action, time, None, time]
        columns = dict(zip(FEEDBACK.names, ([value] for value in row), strict=True))
        self.store.write("feedback", pa.table(columns, schema=FEEDBACK))


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_it_is_what_the_engine_takes_for_live_traffic(place):
    assert isinstance(place.traffic(), Arrivals)
    assert place.traffic().fingerprint == place.traffic().fingerprint


def test_answers_come_at_once_with_their_arm_step_and_fault(place):
    traffic = place.traffic()
    traffic.begin(0, T, [])
    place.saw("ann", OLD)
    place.saw("bob", NEW, status=0, error="ConnectError")
    place.saw("cem", NEW, percent=50.0, time=T + 1)
    place.saw("dan", "m-00000000000f")
    place.saw("eve", NEW, latency_ms=60_000.0)
    place.saw("old", NEW, time=T - 1)
    told = traffic.arrived()
    assert [(r.user, r.arm, r.step) for r in told] == [
        ("ann", Arm.STABLE, 0),
        ("bob", Arm.CANDIDATE, 0),
        ("cem", Arm.CANDIDATE, 1),
        ("eve", Arm.CANDIDATE, 0),
    ]
    assert [r.error for r in told] == ["", "ConnectError", "", "took 60.0 s"]
    assert all(r.tells is Tells.ANSWER for r in told)
    assert traffic.arrived() == []


def test_a_list_is_judged_once_its_time_is_over_and_once_only(place):
    traffic = place.traffic()
    traffic.begin(0, T, [])
    place.saw("ann", OLD)
    place.saw("bob", NEW)
    place.served("r-ann", "ann", OLD, time=T + 1000)
    place.served("r-bob", "bob", NEW, time=T + 1000)
    place.clicked("r-bob", time=T + 5000)
    place.now = T + 50_000
    assert {r.tells for r in traffic.arrived()} == {Tells.ANSWER}
    place.now = T + 100_000
    told = traffic.arrived()
    assert {(r.user, r.hit) for r in told} == {("ann", False), ("bob", True)}
    assert {r.tells for r in told} == {Tells.OUTCOME}
    place.now = T + 200_000
    assert traffic.arrived() == []


def test_a_list_of_an_arm_that_stood_in_is_nobodys_outcome(place):
    traffic = place.traffic()
    traffic.begin(0, T, [])
    place.saw("bob", NEW, status=0, error="ConnectError")
    place.served("r-bob", "bob", OLD, time=T + 1000)
    place.served("r-nobody", "nobody", NEW, time=T + 1000)
    place.served("r-shadow", "bob", NEW, time=T + 1000, lane="shadow")
    place.now = T + 200_000
    assert [r.tells for r in traffic.arrived()] == [Tells.ANSWER]


def test_after_a_kill_it_goes_on_without_telling_anything_twice(place):
    first = place.traffic()
    first.begin(0, T, [])
    place.saw("ann", OLD)
    place.saw("bob", NEW)
    place.served("r-bob", "bob", NEW, time=T + 1000)
    known = list(first.arrived())
    second = place.traffic()
    second.begin(0, T, known)
    assert second.arrived() == []
    place.now = T + 200_000
    assert [(r.user, r.hit) for r in second.arrived()] == [("bob", False)]


def test_where_no_router_is_ours_the_lists_tell_of_the_answers(tmp_path):
    place = Place(tmp_path, router=False)
    traffic = place.traffic()
    traffic.begin(0, T, [])
    place.served("r-ann", "ann", OLD, time=T + 1000)
    place.served("r-bob", "", NEW, time=T + 2000)
    place.now = T + 10_000
    told = traffic.arrived()
    assert [(r.user, r.arm, r.latency_ms) for r in told] == [
        ("ann", Arm.STABLE, 4.0),
        ("r-bob", Arm.CANDIDATE, 4.0),
    ]


def test_requests_that_failed_are_told_of_where_no_router_is_ours(tmp_path):
    place = Place(tmp_path, router=False)
    traffic = place.traffic()
    traffic.begin(0, T, [])
    place.served("r-ann", "ann", OLD, time=T + 1000)
    place.failed("r-bob", "bob", NEW, time=T + 2000)
    place.failed("r-eve", "eve", "another", time=T + 2000)
    place.failed("r-dan", "dan", NEW, time=T + 2000, lane="rehearsal")
    place.now = T + 10_000
    told = traffic.arrived()
    assert [(r.user, r.arm, r.status, r.error) for r in told] == [
        ("ann", Arm.STABLE, 200, ""),
        ("bob", Arm.CANDIDATE, 500, "ValueError"),
    ]
    assert told[1].failed
    place.now += 60_000
    assert not [r for r in traffic.arrived() if r.user == "bob"]
