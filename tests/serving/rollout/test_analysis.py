"""Verdicts, guardrail by guardrail, and how often they are wrong."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from recommender.config.rollout import RolloutConfig
from serving.rollout.analysis import analyse
from serving.rollout.guardrails import Verdict
from serving.rollout.plan import Plan, Step
from serving.rollout.records import Arm, Record

CONFIG = RolloutConfig()
PLAN = Plan((Step(25, 400, 165), Step(50, 400, 80), Step(100, 30, 30)), (), 830)


def users(step, arm, count, *, hits=0, failed=0, latency=20.0, outcomes=True):
    """Return `count` users of an arm, the first of whom are hit, and the last of whom failed."""
    return [
        Record(
            user=f"{step} {arm} {i}",
            step=step,
            arm=arm,
            version=arm.value,
            status=500 if i >= count - failed else 200,
            latency_ms=latency,
            hit=(i < hits) if outcomes else None,
            error="it broke" if i >= count - failed else "",
        )
        for i in range(count)
    ]


def step(index, stable, candidate, **more):
    """Return a step's users, in an order that has nothing to do with arm or hit."""
    ours = {key: value[1] for key, value in more.items()}
    theirs = {key: value[0] for key, value in more.items()}
    records = users(index, Arm.STABLE, stable, **theirs) + users(
        index, Arm.CANDIDATE, candidate, **ours
    )
    random.Random(0).shuffle(records)
    return records


def verdict_of(analysis, guardrail):
    return next(f.verdict for f in analysis.findings if f.guardrail == guardrail)


def test_two_good_arms_promote():
    analysis = analyse(step(0, 300, 100, hits=(60, 20)), PLAN, 0, CONFIG)
    assert analysis.verdict is Verdict.PROMOTE
    assert analysis.arms[Arm.STABLE].hit_rate == pytest.approx(0.2)
    assert analysis.arms[Arm.CANDIDATE].p95_ms == 20.0
    json.dumps(analysis.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("stable", "candidate"), [(0, 0), (300, 0), (0, 100), (29, 29), (87, 29)])
def test_too_few_users_in_either_arm_are_never_a_pass(stable, candidate):
    config = RolloutConfig(false_alarm=0.001)  # so that the ratio alone doesn't decide
    plan = Plan((Step(50, 100, 80), Step(100, 30, 30)), (), 130)
    records = step(0, stable, candidate, hits=(stable, candidate))
    analysis = analyse(records, plan, 0, config)
    assert analysis.verdict is not Verdict.PROMOTE
    json.dumps(analysis.to_dict(), allow_nan=False)


def test_below_the_minimum_even_a_disaster_only_holds():
    analysis = analyse(step(0, 75, 25, failed=(0, 25)), PLAN, 0, CONFIG)
    assert analysis.verdict is Verdict.HOLD
    assert "too few" in analysis.reason
    assert verdict_of(analysis, "errors") is Verdict.ROLL_BACK


def test_no_outcome_at_all_is_no_pass_where_it_decides():
    analysis = analyse(step(1, 200, 200, outcomes=(False, False)), PLAN, 1, CONFIG)
    assert analysis.verdict is Verdict.HOLD
    assert "hit rate unknown against unknown" in analysis.reason


def test_a_candidate_that_fails_is_rolled_back_and_one_failure_holds():
    bad = analyse(step(0, 300, 100, hits=(60, 20), failed=(0, 15)), PLAN, 0, CONFIG)
    assert bad.verdict is Verdict.ROLL_BACK
    assert "15 of 100 requests of the candidate failed" in bad.reason
    assert "it broke" in bad.reason
    once = analyse(step(0, 240, 80, hits=(60, 20), failed=(0, 1)), PLAN, 0, CONFIG)
    assert once.verdict is Verdict.HOLD
    allowed = RolloutConfig(maximum_error_rate=0.05)
    assert analyse(step(0, 240, 80, hits=(60, 20), failed=(0, 1)), PLAN, 0, allowed).verdict is (
        Verdict.PROMOTE
    )


def test_where_no_error_is_allowed_one_is_enough():
    config = RolloutConfig(maximum_error_rate=0)
    analysis = analyse(step(0, 300, 100, hits=(60, 20), failed=(0, 1)), PLAN, 0, config)
    assert analysis.verdict is Verdict.ROLL_BACK


def test_a_slow_candidate_is_rolled_back_when_it_is_shown_and_held_when_it_only_seems_so():
    shown = analyse(step(0, 900, 300, hits=(180, 60), latency=(60.0, 200.0)), PLAN, 0, CONFIG)
    assert shown.verdict is Verdict.ROLL_BACK
    assert "3.33 times" in shown.reason
    seems = analyse(step(0, 90, 30, hits=(18, 6), latency=(60.0, 200.0)), PLAN, 0, CONFIG)
    assert seems.verdict is Verdict.HOLD


def test_a_latency_that_is_good_in_itself_may_be_any_multiple():
    analysis = analyse(step(0, 900, 300, hits=(180, 60), latency=(5.0, 45.0)), PLAN, 0, CONFIG)
    assert analysis.verdict is Verdict.PROMOTE


def test_fewer_hits_roll_back_when_they_are_shown():
    analysis = analyse(step(0, 300, 100, hits=(120, 5)), PLAN, 0, CONFIG)
    assert analysis.verdict is Verdict.ROLL_BACK
    assert "hit rate 5.0% against 40.0%" in analysis.reason


def test_a_margin_grants_what_would_otherwise_be_rolled_back():
    config = RolloutConfig(hit_rate_margin=0.4)
    assert analyse(step(0, 300, 100, hits=(120, 5)), PLAN, 0, config).verdict is Verdict.PROMOTE


def test_only_the_last_step_with_both_arms_asks_for_proof_that_the_hits_are_kept():
    few = step(0, 120, 40, hits=(12, 4))
    assert analyse(few, PLAN, 0, CONFIG).verdict is Verdict.PROMOTE
    decides = [*few, *step(1, 40, 40, hits=(4, 2))]
    held = analyse(decides, PLAN, 1, CONFIG)
    assert held.verdict is Verdict.HOLD
    assert "users per arm" in held.reason
    many = [*few, *step(1, 600, 600, hits=(60, 60))]
    assert analyse(many, PLAN, 1, CONFIG).verdict is Verdict.PROMOTE


def test_the_first_steps_count_in_the_decision_and_the_last_one_only_for_errors():
    records = [
        *step(0, 300, 100, hits=(60, 20)),
        *step(1, 200, 200, hits=(40, 40)),
        *step(2, 0, 40, hits=(0, 0), failed=(0, 0)),
    ]
    analysis = analyse(records, PLAN, 2, CONFIG)
    assert analysis.verdict is Verdict.PROMOTE, "forty users without a hit had no rival beside them"
    finding = next(f for f in analysis.findings if f.guardrail == "hit_rate")
    assert finding.numbers["candidate"] == pytest.approx(60 / 300)
    broken = records[:-40] + step(2, 0, 40, hits=(0, 0), failed=(0, 30))
    assert analyse(broken, PLAN, 2, CONFIG).verdict is Verdict.ROLL_BACK


@pytest.mark.parametrize(
    ("records", "told"),
    [
        (step(0, 100, 300), "300 of 400 users at 25 %"),
        (step(0, 400, 0), "0 of 400 users at 25 %"),
        (step(2, 1, 40), "40 of 41 users at 100 %"),
    ],
)
def test_arms_that_did_not_get_their_share_abort_whatever_they_show(records, told):
    index = records[0].step
    analysis = analyse(records, PLAN, index, CONFIG)
    assert analysis.verdict is Verdict.ROLL_BACK
    assert "sample-ratio mismatch" in analysis.reason
    assert told in analysis.reason


def test_the_chi_square_is_the_one_that_people_compute():
    analysis = analyse(step(0, 290, 110, hits=(60, 20)), PLAN, 0, CONFIG)
    numbers = next(f for f in analysis.findings if f.guardrail == "sample_ratio").numbers
    assert numbers["chi_square"] == pytest.approx(10**2 / 300 + 10**2 / 100)
    assert numbers["p_value"] == pytest.approx(0.2482, abs=1e-4)


def rollout(rng, stable, candidate, errors=0.0):
    """Judge a simulated rollout as the engine does, look by look; return the last verdict."""
    records = []
    for index, part in enumerate(PLAN.steps[:2]):
        for i in range(part.users):
            ours = rng.random() < part.percent / 100
            failed = rng.random() < errors
            records.append(
                Record(
                    user=f"{index} {i}",
                    step=index,
                    arm=Arm.CANDIDATE if ours else Arm.STABLE,
                    version="",
                    status=200,
                    latency_ms=float(rng.lognormal(4.0, 0.6)),
                    hit=bool(rng.random() < (candidate if ours else stable)),
                    error="it broke" if failed else "",
                )
            )
            # A look every hundred users, although the engine needs fewer.
            if i % 100 == 99:
                analysis = analyse(records, PLAN, index, CONFIG)
                if analysis.verdict is Verdict.ROLL_BACK:
                    return analysis
    return analysis


@pytest.mark.slow
def test_an_equal_candidate_is_seldom_called_bad_although_it_is_looked_at_often():
    rng = np.random.default_rng(0)
    verdicts = [rollout(rng, 0.2, 0.2, errors=0.005).verdict for _ in range(40)]
    assert verdicts.count(Verdict.ROLL_BACK) <= 2


def test_a_much_worse_candidate_is_never_promoted_and_mostly_called_bad():
    rng = np.random.default_rng(1)
    verdicts = [rollout(rng, 0.3, 0.1).verdict for _ in range(25)]
    assert verdicts.count(Verdict.PROMOTE) == 0
    assert verdicts.count(Verdict.ROLL_BACK) >= 22


def test_a_candidate_that_is_as_good_is_mostly_promoted():
    rng = np.random.default_rng(2)
    verdicts = [rollout(rng, 0.3, 0.33).verdict for _ in range(25)]
    assert verdicts.count(Verdict.PROMOTE) >= 22
