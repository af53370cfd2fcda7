"""From what was seen of live traffic to a verdict; the rules are those of `analysis`."""

from __future__ import annotations

from recommender.config.rollout import RolloutConfig
from serving.rollout import live_guardrails as guardrails
from serving.rollout.analysis import GUARDRAILS, Analysis, conclude
from serving.rollout.guardrails import Figures, Finding, Verdict
from serving.rollout.live_evidence import LiveEvidence
from serving.rollout.plan import Plan
from serving.rollout.records import Arm


def analyse_live(
    seen: LiveEvidence,
    plan: Plan,
    step: int,
    config: RolloutConfig,
    *,
    extra: tuple[Finding, ...] = (),
) -> Analysis:
    """Judge a step by everything seen up to now.

    Args:
        seen: of all steps so far.
        plan: of the rollout.
        step: index of the step at hand.
        config: limits and chances.
        extra: findings of guardrails that look at something else (the memory).
    """
    alpha = config.false_alarm / GUARDRAILS
    arms = guardrails.figures(seen, step)
    enough = _users(arms, config.live.users_per_arm, both=plan.steps[step].concurrent)
    ratio = guardrails.sample_ratio(seen, plan, alpha)
    told = enough.verdict is Verdict.PROMOTE
    errors = guardrails.errors(seen, plan, config, alpha, enough=told)
    others = (
        guardrails.latency(seen, plan, config, alpha),
        guardrails.hit_rate(seen, plan, config, alpha, deciding=step >= plan.last_concurrent),
        *extra,
    )
    # The exact half of the error test holds for any number of users, so a broken candidate need
    # not meet the minimum of them first.
    at_once = errors.verdict is Verdict.ROLL_BACK
    return conclude(enough, ratio, (errors, *others), arms, at_once=at_once)


def _users(arms: dict[Arm, Figures], minimum: int, *, both: bool) -> Finding:
    needed = tuple(Arm) if both else (Arm.CANDIDATE,)
    told = " and ".join(
        f"{arms[arm].users} users ({arms[arm].requests} requests) in the {arm.value} arm"
        for arm in needed
    )
    numbers: dict[str, float | None] = {arm.value: float(arms[arm].users) for arm in Arm}
    numbers["minimum"] = float(minimum)
    if all(arms[arm].users >= minimum for arm in needed):
        return Finding("users", Verdict.PROMOTE, f"{told} (minimum {minimum})", numbers)
    reason = f"{told}: too few for a verdict (minimum {minimum})"
    return Finding("users", Verdict.HOLD, reason, numbers)
