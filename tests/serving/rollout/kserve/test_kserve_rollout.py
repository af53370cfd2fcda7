"""Whole rollouts on an InferenceService: promoted, rolled back, killed, and out of order."""

from __future__ import annotations

import pytest
from kserve_world import BAD, CANDIDATE, GOOD, NAME, STABLE, Killed, KServeWorld, until

from recommender.config.rollout import RolloutConfig
from serving.rollout.guardrails import Verdict
from serving.rollout.kserve.situation import OWNER, REPLICAS, marks_of
from serving.rollout.live_evidence import LiveEvidence
from serving.rollout.live_guardrails import sample_ratio
from serving.rollout.plan import live_plan
from serving.rollout.records import Arm, Record, Tells
from serving.rollout.state import Phase, Rollouts


def settled(world: KServeWorld, version: str) -> None:
    """Everybody gets one version, which is the champion; nothing of a rollout is left."""
    assert world.champions.champion_alias == version
    until(lambda: world.shares() == {version: 100})
    assert world.target().live() == version
    marks = marks_of(world.api.service(NAME))
    assert not {OWNER, REPLICAS} & marks.keys()
    assert "canary" not in world.spec
    # A rollback leaves Knative's newest revision with no traffic at all.
    assert world.spec["predictor"].get("canaryTrafficPercent") in (None, 0)


def test_a_better_candidate_takes_every_step_and_gets_everybody(world: KServeWorld) -> None:
    state = world.start(GOOD)
    assert state.phase is Phase.PROMOTED, state.reason
    settled(world, CANDIDATE)
    steps = [shares.get(CANDIDATE, 0) for shares in world.api.controller.seen]
    assert [s for s in (0, 25, 100) if s in steps] == [0, 25, 100]
    assert steps == sorted(steps), "its share never fell"


def test_a_worse_candidate_is_taken_away_and_the_stable_arm_never_changed(
    world: KServeWorld,
) -> None:
    before = world.spec["predictor"]
    state = world.start(BAD)
    assert state.phase is Phase.ROLLED_BACK
    assert state.lost
    settled(world, STABLE)
    if "canaryTrafficPercent" not in world.spec["predictor"]:
        assert world.spec["predictor"] == before
    assert world.champions.withdrawn == [CANDIDATE]


def test_a_candidate_that_cannot_be_loaded_is_rolled_back_at_once(world: KServeWorld) -> None:
    world.api.controller.broken = {CANDIDATE}
    world.settings["timeout_s"] = 60.0  # it fails fast, or this test takes a minute
    state = world.start(GOOD)
    assert state.phase is Phase.ROLLED_BACK
    assert "BlockedByFailedLoad: ModelLoadFailed: hash mismatch: exit code 1" in state.reason
    assert all(CANDIDATE not in s or not s[CANDIDATE] for s in world.api.controller.seen)
    settled(world, STABLE)


def test_after_a_rollback_the_next_candidate_is_compared_with_the_champion(
    world: KServeWorld,
) -> None:
    world.start(BAD)
    seen = world.api.controller.seen
    del seen[:-1]
    state = world.start(GOOD)
    assert state.phase is Phase.PROMOTED, state.reason
    assert all(set(shares) <= {STABLE, CANDIDATE} for shares in seen)
    settled(world, CANDIDATE)


def test_pods_are_never_restarted_by_a_promotion(standard: KServeWorld) -> None:
    standard.serve(STABLE, minReplicas=4)
    state = standard.start(GOOD)
    assert state.phase is Phase.PROMOTED
    settled(standard, CANDIDATE)
    (pods,) = standard.api.controller.deployments.values()
    assert pods.restarts == 0
    assert standard.spec["predictor"]["minReplicas"] == 4


def killed_at(world: KServeWorld, hit_rates: tuple[float, float], n: int) -> None:
    """Kill a rollout at an effect, start it again, and look at what has become of it."""
    winner = CANDIDATE if hit_rates is GOOD else STABLE
    with pytest.raises(Killed):
        world.start(hit_rates, dies_at=n)
    # Whatever half state there was, people were served by one of the two.
    assert all(set(shares) <= {STABLE, CANDIDATE} for shares in world.api.controller.seen)
    assert all(sum(shares.values()) == 100 for shares in world.api.controller.seen)
    known = Rollouts(world.folder / "rollouts").all()
    ended = bool(known) and known[-1].phase.final
    world.start(hit_rates)
    settled(world, winner)
    states = Rollouts(world.folder / "rollouts").all()
    assert all(state.phase.final for state in states)
    assert len(states) == 1 + (ended and winner == STABLE), "it went on, not anew"


# Effects are changes of the cluster, of the registry and of the rollout's own state: 29 and 18.
CASES = [(GOOD, n) for n in range(29)] + [(BAD, n) for n in range(18)]


@pytest.mark.parametrize(("hit_rates", "n"), CASES[1:29:5] + CASES[31::8])
def test_killed_in_any_phase_and_started_again_it_ends_as_if_nothing_had_been(
    world: KServeWorld, hit_rates: tuple[float, float], n: int
) -> None:
    killed_at(world, hit_rates, n)


@pytest.mark.slow
@pytest.mark.parametrize(("hit_rates", "n"), CASES)
def test_killed_at_any_effect_and_started_again_it_ends_as_if_nothing_had_been(
    world: KServeWorld, hit_rates: tuple[float, float], n: int
) -> None:
    killed_at(world, hit_rates, n)


def test_the_cases_above_are_all_effects_there_are(world: KServeWorld) -> None:
    world.start(BAD)
    assert world.process.effects == 18
    world.start(GOOD)
    assert world.process.effects <= 29, "a rollout has more effects: add them"


def test_a_few_answers_of_the_stable_arm_at_the_last_step_are_no_broken_split() -> None:
    config = RolloutConfig()
    plan = live_plan(config)
    assert plan.steps[-1].percent == 100
    records = [
        Record(
            user=f"u{i}",
            step=step,
            arm=Arm.STABLE if i % 100 == 0 else Arm.CANDIDATE,
            version=STABLE if i % 100 == 0 else CANDIDATE,
            status=200,
            latency_ms=50,
            hit=None,
            request=f"{i} {step}",
            tells=Tells.ANSWER,
        )
        for step in (len(plan.steps) - 1, 0)
        for i in range(step * 1000, step * 1000 + 400)
    ]
    late, early = records[:400], records[400:]
    assert sample_ratio(LiveEvidence(late), plan, 0.01).verdict is Verdict.PROMOTE
    assert sample_ratio(LiveEvidence(early), plan, 0.01).verdict is Verdict.ROLL_BACK
