"""What goes wrong between a rollout and its cluster, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_kubernetes import SERVICES, FakeKubernetes, Fault
from kserve_world import (
    BAD,
    CANDIDATE,
    GOOD,
    NAME,
    STABLE,
    KServeWorld,
    until,
)

from recommender.errors import RolloutError, ServingError
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.target import KServeTarget
from serving.rollout.state import Phase
from serving.rollout.target import CandidateError

SERVICE = f"{SERVICES}/{NAME}"
KIND = Resource("serving.kserve.io/v1beta1", "inferenceservices", "default")


def cluster_of(world: KServeWorld, **settings: object) -> Cluster:
    return Cluster.connect(world.config(**settings).rollout.targets.kserve)


def patched(world: KServeWorld, code: int = 200) -> int:
    """Return how many patches were answered so."""
    return sum(r[0] == "PATCH" and r[2] == code for r in world.api.requests)


# Conflicts, and answers that never come.


def test_a_conflict_is_read_again_and_the_others_change_is_kept(world: KServeWorld) -> None:
    world.api.faults = [Fault(times=3, methods=("PATCH",), stale=True)]
    world.target().start_candidate(CANDIDATE)
    assert patched(world, 409) == 3
    assert "example.com/somebody-else" in world.api.service(NAME)["metadata"]["annotations"]
    assert world.target().live() == STABLE


def test_a_whole_rollout_goes_through_a_storm_of_conflicts(world: KServeWorld) -> None:
    world.api.faults = [Fault(methods=("PATCH",), stale=n % 3 != 0) for n in range(1, 30)]
    assert world.start(GOOD).phase is Phase.PROMOTED
    assert patched(world, 409) >= 3
    until(lambda: world.shares() == {CANDIDATE: 100})


def test_conflicts_that_never_end_are_given_up_and_nothing_is_forced(world: KServeWorld) -> None:
    world.settings["retry_s"] = 0.3
    world.api.faults = [Fault(times=10_000, methods=("PATCH",), stale=True)]
    before = world.spec
    with pytest.raises(ServingError, match=r"modified.*attempts in 0\.3 s"):
        world.target().start_candidate(CANDIDATE)
    assert world.spec == before


def test_after_a_conflict_the_intent_is_worked_out_anew(standard: KServeWorld) -> None:
    asked: list[str] = []

    def intent(service: dict[str, object]) -> dict[str, object] | None:
        marks = service["metadata"].get("annotations", {})  # type: ignore[attr-defined]
        asked.append(marks.get("example.com/somebody-else", ""))
        return None if asked[-1] else {"metadata": {"annotations": {"mine": "1"}}}

    standard.api.faults = [Fault(methods=("PATCH",), stale=True)]
    after = cluster_of(standard).change(KIND, NAME, intent)
    assert len(asked) == 2, "the other's change made ours needless"
    assert "mine" not in after["metadata"]["annotations"]


@pytest.mark.parametrize("cut", ["before", "after"])
def test_an_answer_that_never_came_is_no_reason_to_do_it_twice(
    world: KServeWorld, cut: str
) -> None:
    target = world.target()
    target.live()
    world.api.faults = [Fault(methods=("PATCH",), cut=cut)]
    target.start_candidate(CANDIDATE)
    # The patch whose answer was lost was made, and the next look found the canary there.
    assert patched(world) == (1 if cut == "before" else 0)


def test_a_slow_answer_is_asked_for_again(standard: KServeWorld) -> None:
    standard.api.faults = [Fault(methods=("GET",), delay_s=0.8)]
    assert cluster_of(standard, request_timeout_s=0.3).get(KIND, NAME) is not None


# An API server that is down, busy, or doesn't know us.


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_api_server_is_asked_again(standard: KServeWorld, code: int) -> None:
    standard.api.faults = [Fault(times=2, status=code)]
    assert standard.target().live() == STABLE
    assert [r[2] for r in standard.api.requests].count(code) == 2


def test_a_throttling_api_server_says_how_long_to_wait(
    standard: KServeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("serving.rollout.kserve.client.time.sleep", waits.append)
    standard.api.faults = [Fault(status=429, headers={"Retry-After": "7"})]
    cluster_of(standard, retry_s=30.0).get(KIND, NAME)
    assert [wait for wait in waits if wait] == [7.0]


def test_an_api_server_that_stays_down_is_said_and_nothing_was_changed(
    standard: KServeWorld,
) -> None:
    standard.settings["retry_s"] = 0.2
    standard.api.faults = [Fault(times=10_000, status=503)]
    with pytest.raises(ServingError, match=r"503.*attempts"):
        standard.target().live()


def test_an_api_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    with FakeKubernetes() as api:
        world = KServeWorld(api, tmp_path, {"retry_s": 0.2})
        target = world.target()
    with pytest.raises(ServingError, match="does not answer GET"):
        target.live()


def test_an_expired_token_is_said_at_once(standard: KServeWorld) -> None:
    target = standard.target()
    standard.api.token = "another"
    with pytest.raises(ServingError, match="401") as error:
        target.live()
    assert "log in again" in error.value.hint
    assert [r[2] for r in standard.api.requests].count(401) == 1, "no use in trying again"


def test_a_missing_right_is_said_with_the_verb_and_the_kind(standard: KServeWorld) -> None:
    standard.api.forbidden = lambda method, path: method == "PATCH"
    with pytest.raises(ServingError, match="PATCH inferenceservices/ostinato: not allowed in def"):
        standard.target().start_candidate(CANDIDATE)


def test_a_token_that_expires_under_way_leaves_a_rollout_that_goes_on(world: KServeWorld) -> None:
    watched = world.api.fault

    def expire(method: str) -> Fault | None:
        if any(s.get(CANDIDATE) == 25 for s in world.api.controller.seen):
            world.api.token = "another"
        return watched(method)

    world.api.fault = expire  # type: ignore[method-assign]
    with pytest.raises(ServingError, match="401"):
        world.start(GOOD)
    assert world.champions.champion_alias == STABLE
    world.api.fault, world.api.token = watched, "valid"  # type: ignore[method-assign]
    assert world.start(GOOD).phase is Phase.PROMOTED
    until(lambda: world.shares() == {CANDIDATE: 100})


def test_no_way_to_a_cluster_is_said(tmp_path: Path) -> None:
    with FakeKubernetes() as api, pytest.raises(ServingError, match="no way to the cluster"):
        KServeWorld(api, tmp_path).target(context="not there")


# A controller that doesn't do its work.


def test_a_controller_that_never_reports_is_not_the_candidates_fault(world: KServeWorld) -> None:
    world.settings["timeout_s"] = 0.2
    world.api.controller.hangs = True
    with pytest.raises(ServingError, match="has not reported"):
        world.start(GOOD)
    assert world.champions.withdrawn == []
    assert world.target().live() == STABLE
    world.api.controller.hangs = False
    world.settings["timeout_s"] = 10.0
    assert world.start(GOOD).phase is Phase.PROMOTED


def test_a_controller_that_stops_at_the_promotion_lets_the_champion_be_moved_back(
    world: KServeWorld,
) -> None:
    world.settings["timeout_s"] = 0.6
    promote = world.champions.promote

    def stop(version: str, **told: object) -> None:
        promote(version, **told)  # type: ignore[arg-type]
        world.api.controller.hangs = version == CANDIDATE

    world.champions.promote = stop  # type: ignore[method-assign]
    with pytest.raises(ServingError, match="is written down, but KServe has not carried it out"):
        world.start(GOOD)
    assert world.champions.champion_alias == STABLE
    world.settings["timeout_s"], world.champions.promote = 10.0, promote  # type: ignore[method-assign]
    assert world.start(GOOD).phase is Phase.PROMOTED
    assert world.target().live() == world.champions.champion_alias == CANDIDATE
    until(lambda: world.shares() == {CANDIDATE: 100})


def test_a_champion_that_cannot_come_back_is_said_and_not_tried_for_ever(
    standard: KServeWorld,
) -> None:
    standard.settings["timeout_s"] = 0.6
    promote = standard.champions.promote

    def stop(version: str, **told: object) -> None:
        promote(version, **told)  # type: ignore[arg-type]
        standard.api.controller.hangs = True

    standard.champions.promote = stop  # type: ignore[method-assign]
    with pytest.raises(ServingError):
        standard.start(GOOD)
    assert standard.target().live() == CANDIDATE
    standard.api.controller.hangs = False
    standard.api.controller.broken = {STABLE}
    with pytest.raises(RolloutError, match=f"no way back to {STABLE}: .*BlockedByFailedLoad"):
        standard.start(GOOD)
    until(lambda: standard.shares() == {CANDIDATE: 100})
    standard.api.controller.broken, standard.settings["timeout_s"] = set(), 10.0
    standard.start(BAD)
    until(lambda: standard.shares() == {STABLE: 100})


def test_a_candidate_that_never_becomes_ready_is_rolled_back(world: KServeWorld) -> None:
    world.settings["timeout_s"] = 0.3
    world.api.controller.slow = {CANDIDATE}
    state = world.start(GOOD)
    assert state.phase is Phase.ROLLED_BACK
    assert state.lost
    assert "0 of 1 pods" in state.reason
    until(lambda: world.shares() == {STABLE: 100})


def test_a_canary_that_dies_is_found_by_the_check_after_its_grace(standard: KServeWorld) -> None:
    target = standard.target(unready_s=0.05)
    target.start_candidate(CANDIDATE)
    target.check()
    standard.api.controller.slow = {CANDIDATE}
    until(lambda: _unready(target))
    standard.api.controller.slow = set()
    until(lambda: not _raises(target))


def _unready(target: KServeTarget) -> bool:
    try:
        target.check()
    except CandidateError as error:
        return "has not been ready for" in error.message
    return False


def _raises(target: KServeTarget) -> bool:
    try:
        target.check()
    except CandidateError:
        return True
    return False
