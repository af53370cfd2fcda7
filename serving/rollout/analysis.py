"""From records to a verdict: promote, hold or roll back, with the numbers behind it.

What is compared is what was served at the same time: latency and hit rate use the steps in which
both arms had users, and never an arm's past. The user is the unit: every user is in one step and
counts once. `false_alarm` is shared out evenly over the four guardrails; within each it holds
over all looks, however many there are (see `serving.rollout.sequential`).

The rules, per guardrail:

- `users`: below the minimum in either arm there is no verdict, so the step holds.
- `sample_ratio`: arms that don't have their share of the users were not split by chance; nothing
  that they show can be trusted. Rolled back, at once.
- `errors`: shown above the limit → roll back; above it by what was seen → hold.
- `latency`: the same for the ratio of the 95th percentiles.
- `hit_rate`: shown lower by more than the margin → roll back. Before everybody gets the
  candidate, at the last step with both arms, it must also be shown to keep its share of the
  champion's hit rate; if it isn't → hold. Absence of evidence is no pass.

A hold takes more users; where there are none left, the candidate has not won its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recommender.config.rollout import RolloutConfig
from serving.rollout import guardrails
from serving.rollout.guardrails import Figures, Finding, Verdict
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record

GUARDRAILS = 4
"""Guardrails that share `false_alarm`; the memory's is no matter of chance."""


@dataclass(frozen=True)
class Analysis:
    """The verdict on one step.

    Attributes:
        verdict: of all guardrails together.
        reason: of the verdict, for people.
        findings: one per guardrail.
        arms: figures of this step, by arm.
    """

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    arms: dict[Arm, Figures]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        arms = {
            arm.value: asdict(figures) | {"hit_rate": figures.hit_rate}
            for arm, figures in self.arms.items()
        }
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "findings": [asdict(finding) for finding in self.findings],
            "arms": arms,
        }


def analyse(
    records: Sequence[Record],
    plan: Plan,
    step: int,
    config: RolloutConfig,
    *,
    extra: tuple[Finding, ...] = (),
) -> Analysis:
    """Judge a step by everything seen up to now.

    Args:
        records: of all steps so far, in the order in which the users came.
        plan: of the rollout.
        step: index of the step at hand.
        config: limits and chances.
        extra: findings of guardrails that look at something else (the memory).
    """
    here = [record for record in records if record.step == step]
    together = [record for record in records if plan.steps[record.step].concurrent]
    alpha = config.false_alarm / GUARDRAILS
    ratio = guardrails.sample_ratio(records, plan, alpha)
    users = guardrails.users(here, config.minimum_users_per_arm, both=plan.steps[step].concurrent)
    others = (
        guardrails.errors(records, config.maximum_error_rate, alpha),
        guardrails.latency(together, config, alpha),
        guardrails.hit_rate(together, config, alpha, deciding=step >= plan.last_concurrent),
    )
    arms = {arm: guardrails.figures([r for r in here if r.arm is arm]) for arm in Arm}
    return conclude(users, ratio, (*others, *extra), arms)


def conclude(
    users: Finding,
    ratio: Finding,
    others: Sequence[Finding],
    arms: dict[Arm, Figures],
    *,
    at_once: bool = False,
) -> Analysis:
    """Put the guardrails' findings together.

    Args:
        users: whether there are enough of them.
        ratio: whether the arms have their shares.
        others: what the arms show.
        arms: figures of the step at hand.
        at_once: whether what the others show holds for few users, too.
    """
    if ratio.verdict is Verdict.ROLL_BACK:
        verdict, told = Verdict.ROLL_BACK, [ratio]
    elif users.verdict is Verdict.HOLD and not at_once:
        verdict, told = Verdict.HOLD, [users]
    else:
        verdict = _worst(others)
        told = [finding for finding in others if finding.verdict is verdict]
    reason = "; ".join(finding.reason for finding in told)
    return Analysis(verdict, reason, (users, ratio, *others), arms)


def _worst(findings: Sequence[Finding]) -> Verdict:
    found = {finding.verdict for finding in findings}
    return next(v for v in (Verdict.ROLL_BACK, Verdict.HOLD, Verdict.PROMOTE) if v in found)
