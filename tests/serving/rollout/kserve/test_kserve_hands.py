"""Other people's hands on the same InferenceService; versions that never change; repetition."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fake_kubernetes import RUNTIMES, SERVICES
from kserve_world import (
    CANDIDATE,
    IMAGE,
    NAME,
    OTHER,
    STABLE,
    KServeWorld,
    Places,
    until,
)

from recommender.errors import RolloutError
from serving.rollout.kserve.client import Resource
from serving.rollout.kserve.owner import owner_of
from serving.rollout.kserve.target import KServeTarget
from serving.rollout.target import CandidateError
from serving.rollout.targets import target_of

SERVICE = f"{SERVICES}/{NAME}"
KIND = Resource("serving.kserve.io/v1beta1", "inferenceservices", "default")


# Other hands on the same InferenceService.


def test_a_second_rollout_is_refused_and_takes_nothing_away(world: KServeWorld) -> None:
    world.target().start_candidate(CANDIDATE)
    before, other = world.spec, world.target(owner="them")
    for act in (
        lambda: other.start_candidate(OTHER),
        lambda: other.start_candidate(CANDIDATE),
        lambda: other.set_weight(50),
        lambda: other.promote(CANDIDATE),
    ):
        with pytest.raises(RolloutError, match=r"another rollout \(us\)"):
            act()
    other.rollback()
    assert world.spec == before


def test_a_canary_by_hand_is_nobodys_to_touch(standard: KServeWorld) -> None:
    service = standard.api.service(NAME)
    predictor = {**service["spec"]["predictor"], "name": "mine"}
    service["spec"]["canary"] = [{"trafficPercent": 10, "predictor": predictor}]
    standard.api.put(SERVICE, service)
    target = standard.target()
    with pytest.raises(RolloutError, match="a canary of somebody else is there"):
        target.start_candidate(CANDIDATE)
    target.rollback()
    assert standard.spec["canary"] == service["spec"]["canary"]


def test_a_canary_that_was_taken_away_by_hand_is_not_the_candidates_fault(
    world: KServeWorld,
) -> None:
    target = world.target()
    target.start_candidate(CANDIDATE)
    world.target().rollback()
    for act in (target.check, lambda: target.set_weight(25)):
        with pytest.raises(RolloutError, match=r"taken.*away") as error:
            act()
        assert not isinstance(error.value, CandidateError)


def test_what_is_none_of_ours_is_not_replaced(standard: KServeWorld) -> None:
    service = standard.api.service(NAME)
    service["spec"]["predictor"]["model"]["runtime"] = "triton"
    standard.api.put(SERVICE, service)
    with pytest.raises(RolloutError, match="none of our versions"):
        standard.target().start_candidate(CANDIDATE)


def test_two_that_begin_at_the_same_moment_make_one_canary(standard: KServeWorld) -> None:
    standard.settings["timeout_s"] = 60.0
    came: list[str] = []

    def begin(target: KServeTarget, version: str) -> None:
        try:
            target.start_candidate(version)
        except RolloutError:
            came.append("refused")
        else:
            came.append(version)

    # Made one after the other: each writes the same kubeconfig.
    pairs = [(standard.target(owner="a"), CANDIDATE), (standard.target(owner="b"), OTHER)]
    threads = [threading.Thread(target=begin, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came)[1] == "refused"
    assert [c["predictor"]["name"] for c in standard.spec["canary"]] == [sorted(came)[0]]


# Versions never change.


def test_what_was_never_prepared_is_never_promoted(world: KServeWorld) -> None:
    with pytest.raises(RolloutError, match="has not been prepared"):
        world.target().promote(CANDIDATE)
    target = world.target()
    target.start_candidate(CANDIDATE)
    with pytest.raises(RolloutError, match="has not been prepared"):
        target.promote(OTHER)


def test_a_canary_that_fails_before_its_promotion_is_not_promoted(world: KServeWorld) -> None:
    target = world.target()
    target.start_candidate(CANDIDATE)
    world.api.controller.broken = {CANDIDATE}
    until(lambda: "BlockedByFailedLoad" in str(world.api.service(NAME)["status"]))
    with pytest.raises(CandidateError, match="hash mismatch"):
        target.promote(CANDIDATE)
    with pytest.raises(CandidateError, match="hash mismatch"):
        target.check()


def test_a_version_brings_a_runtime_of_its_own_and_keeps_it(standard: KServeWorld) -> None:
    standard.target().start_candidate(CANDIDATE)
    runtime = standard.api.objects[f"{RUNTIMES}/{NAME}-{CANDIDATE}"]
    assert runtime["spec"]["containers"][0]["image"] == IMAGE
    newer = standard.target(image=IMAGE.replace("a" * 64, "b" * 64))
    with pytest.raises(RolloutError, match="the code of a version never changes"):
        newer.start_candidate(CANDIDATE)
    standard.target(image="").start_candidate(CANDIDATE)
    with pytest.raises(RolloutError, match="there is no ServingRuntime"):
        standard.target(image="").start_candidate(OTHER)


def test_a_canary_from_another_place_is_refused(standard: KServeWorld) -> None:
    standard.target().start_candidate(CANDIDATE)
    service = standard.api.service(NAME)
    service["spec"]["canary"][0]["predictor"]["model"]["storageUri"] = "s3://elsewhere"
    standard.api.put(SERVICE, service)
    with pytest.raises(RolloutError, match="is served from s3://elsewhere"):
        standard.target().start_candidate(CANDIDATE)


def test_a_model_on_this_machine_is_refused(
    standard: KServeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kserve_world.Places.uri", lambda self, version: f"file:///m/{version}")
    with pytest.raises(RolloutError, match="no cluster can read"):
        standard.target().start_candidate(CANDIDATE)


def test_the_url_is_what_the_status_says_unless_it_is_set(standard: KServeWorld) -> None:
    assert standard.target().url == "http://ostinato.example.com"
    assert standard.target(url="http://gateway:8080/").url == "http://gateway:8080"


def test_the_configured_target_is_this_one_and_knows_its_canary_again(world: KServeWorld) -> None:
    config = world.config()
    first, second = target_of(config, Places()), target_of(config, Places())
    first.start_candidate(CANDIDATE)
    second.set_weight(25)
    assert owner_of(config.paths.serving / "rollouts") in str(world.api.service(NAME)["metadata"])
    second.rollback()
    assert first.live() == STABLE


def test_an_owner_outlives_the_process(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "a") == owner_of(tmp_path / "a") != owner_of(tmp_path / "b")


def test_stable_capacity_is_kept_while_the_canary_grows_with_its_share(
    standard: KServeWorld,
) -> None:
    standard.serve(STABLE, minReplicas=4)
    until(lambda: standard.api.controller.deployments[f"{NAME}-{STABLE}-predictor"].replicas == 4)
    standard.api.controller.fewest = None
    target = standard.target()
    target.start_candidate(CANDIDATE)
    grown = []
    for percent in (25, 50, 100):
        target.set_weight(percent)
        canary = standard.spec["canary"][0]
        assert canary["trafficPercent"] == percent
        grown.append(
            (canary["predictor"]["minReplicas"], standard.spec["predictor"]["minReplicas"])
        )
    assert grown == [(1, 5), (2, 6), (4, 8)]
    target.rollback()
    assert standard.spec["predictor"]["minReplicas"] == 4
    assert standard.api.controller.fewest == 4, "never fewer pods than before"


def test_a_share_is_in_force_once_the_gateway_had_time_to_follow(world: KServeWorld) -> None:
    target = world.target(settle_s=0.2)
    target.start_candidate(CANDIDATE)
    for _ in range(2):  # called again after a kill, it waits again
        began = time.monotonic()
        target.set_weight(25)
        assert time.monotonic() - began >= 0.2


def test_every_method_can_be_called_again_and_changes_nothing_then(world: KServeWorld) -> None:
    target = world.target()
    for act in (
        lambda: target.prepare(STABLE),
        lambda: target.start_candidate(CANDIDATE),
        lambda: target.start_stable(STABLE),
        lambda: target.set_weight(25),
        lambda: target.prepare(CANDIDATE),
        lambda: target.promote(CANDIDATE),
        lambda: target.rollback(),
    ):
        act()
        target.live()
        before, patches = world.spec, len(world.api.patches)
        act()
        assert world.spec == before
        assert len(world.api.patches) == patches
    assert target.live() == CANDIDATE
