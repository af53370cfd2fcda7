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

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.stats import chi2

from recommender.config.rollout import RolloutConfig
from serving.rollout import retention, sequential
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record
from serving.rollout.retention import Stratum

_GUARDRAILS = 4


class Verdict(StrEnum):
    """What a step's evidence says."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True)
class Finding:
    """What one guardrail says.

    Attributes:
        guardrail: its name.
        verdict: its own.
        reason: the numbers in a sentence.
        numbers: the same for programs; None where there is none.
    """

    guardrail: str
    verdict: Verdict
    reason: str
    numbers: Mapping[str, float | None]


@dataclass(frozen=True)
class Figures:
    """One arm in one step.

    Attributes:
        users: who were served by it.
        errors: failed requests among theirs.
        hits: users to whom something was recommended that they then took.
        outcomes: users of whom it could be told.
        fallbacks: answers made without a history.
        p50_ms: median latency of answered requests, None without any.
        p95_ms: 95th percentile of the same.
    """

    users: int
    errors: int
    hits: int
    outcomes: int
    fallbacks: int
    p50_ms: float | None
    p95_ms: float | None

    @property
    def hit_rate(self) -> float | None:
        """Share of the users with an outcome who were hit, None without any."""
        return self.hits / self.outcomes if self.outcomes else None


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


def analyse(records: Sequence[Record], plan: Plan, step: int, config: RolloutConfig) -> Analysis:
    """Judge a step by everything seen up to now.

    Args:
        records: of all steps so far, in the order in which the users came.
        plan: of the rollout.
        step: index of the step at hand.
        config: limits and chances.
    """
    here = [record for record in records if record.step == step]
    together = [record for record in records if plan.steps[record.step].concurrent]
    alpha = config.false_alarm / _GUARDRAILS
    ratio = _sample_ratio(records, plan, alpha)
    users = _users(here, config.minimum_users_per_arm, both=plan.steps[step].concurrent)
    others = (
        _errors(records, config.maximum_error_rate, alpha),
        _latency(together, config, alpha),
        _hit_rate(together, config, alpha, deciding=step >= plan.last_concurrent),
    )
    if ratio.verdict is Verdict.ROLL_BACK:
        verdict, told = Verdict.ROLL_BACK, [ratio]
    elif users.verdict is Verdict.HOLD:
        verdict, told = Verdict.HOLD, [users]
    else:
        verdict = _worst(others)
        told = [finding for finding in others if finding.verdict is verdict]
    reason = "; ".join(finding.reason for finding in told)
    arms = {arm: figures([r for r in here if r.arm is arm]) for arm in Arm}
    return Analysis(verdict, reason, (users, ratio, *others), arms)


def figures(records: Sequence[Record]) -> Figures:
    """Sum up the records of one arm."""
    latencies = [record.latency_ms for record in records if not record.failed]
    outcomes = [record.hit for record in records if record.hit is not None]
    return Figures(
        users=len(records),
        errors=sum(record.failed for record in records),
        hits=sum(outcomes),
        outcomes=len(outcomes),
        fallbacks=sum(record.fallback is not None for record in records),
        p50_ms=float(np.percentile(latencies, 50)) if latencies else None,
        p95_ms=float(np.percentile(latencies, 95)) if latencies else None,
    )


def _users(records: Sequence[Record], minimum: int, *, both: bool) -> Finding:
    counts = {arm: sum(record.arm is arm for record in records) for arm in Arm}
    needed = tuple(Arm) if both else (Arm.CANDIDATE,)
    enough = all(counts[arm] >= minimum for arm in needed)
    told = " and ".join(f"{counts[arm]} in the {arm.value} arm" for arm in needed)
    numbers = {arm.value: float(counts[arm]) for arm in Arm} | {"minimum": float(minimum)}
    if enough:
        return Finding("users", Verdict.PROMOTE, f"{told} (minimum {minimum})", numbers)
    return Finding(
        "users", Verdict.HOLD, f"{told}: too few for a verdict (minimum {minimum})", numbers
    )


def _sample_ratio(records: Sequence[Record], plan: Plan, alpha: float) -> Finding:
    """Check that the arms' users are what the shares promise, step by step.

    Every step has users of its own, so the steps' evidence multiplies. The chi-square that people
    know is told beside it; by itself it would give a false alarm now and then if looked at often.
    """
    evidence = square = 0.0
    counted = 0
    worst = (0.0, "")
    for index, step in enumerate(plan.steps):
        arms = [record.arm for record in records if record.step == index]
        share = step.percent / 100
        if not arms:
            continue
        got = sum(arm is Arm.CANDIDATE for arm in arms)
        here = float(sequential.rate_other(got, len(arms), share))
        evidence += here
        if here >= worst[0]:
            worst = (here, f"{got} of {len(arms)} users at {step.percent} %")
        if step.concurrent:
            counted += 1
            expected = len(arms) * share
            square += (got - expected) ** 2 / (expected * (1 - share))
    p_value = float(chi2.sf(square, counted)) if counted else None
    numbers = {"chi_square": square, "p_value": p_value, "log_evidence": _finite(evidence)}
    if evidence >= math.log(1 / alpha):
        reason = f"sample-ratio mismatch: the candidate got {worst[1]}; the split is broken"
        return Finding("sample_ratio", Verdict.ROLL_BACK, reason, numbers)
    told = "" if p_value is None else f" (chi-square p = {p_value:.2f})"
    return Finding("sample_ratio", Verdict.PROMOTE, f"arms have their shares{told}", numbers)


def _errors(records: Sequence[Record], limit: float, alpha: float) -> Finding:
    arms = {arm: figures([r for r in records if r.arm is arm]) for arm in Arm}
    ours, theirs = arms[Arm.CANDIDATE], arms[Arm.STABLE]
    low, high = sequential.rate_interval(ours.errors, ours.users, alpha)
    rate = ours.errors / ours.users if ours.users else 0.0
    numbers = {
        "candidate": rate if ours.users else None,
        "low": float(low),
        "high": float(high),
        "stable": theirs.errors / theirs.users if theirs.users else None,
        "limit": limit,
    }
    told = (
        f"{ours.errors} of {ours.users} requests of the candidate failed "
        f"(limit {limit:.1%}; stable: {theirs.errors} of {theirs.users})"
    )
    if example := next((r.error for r in records if r.arm is Arm.CANDIDATE and r.failed), ""):
        told += f", e.g. {example}"
    if sequential.rate_above(ours.errors, ours.users, limit) >= math.log(1 / alpha):
        return Finding("errors", Verdict.ROLL_BACK, told, numbers)
    return Finding("errors", Verdict.HOLD if rate > limit else Verdict.PROMOTE, told, numbers)


def _latency(records: Sequence[Record], config: RolloutConfig, alpha: float) -> Finding:
    limit, enough = config.maximum_latency_ratio, config.good_latency_ms
    values = {
        arm: np.array([r.latency_ms for r in records if r.arm is arm and not r.failed])
        for arm in Arm
    }
    if any(not len(values[arm]) for arm in Arm):
        return Finding("latency", Verdict.HOLD, "an arm has no answered request", {"limit": limit})
    # Both bounds must hold at once, so each may err half as often.
    ours_low, ours_high = sequential.quantile_bounds(values[Arm.CANDIDATE], 0.95, alpha / 2)
    low, high = sequential.quantile_bounds(values[Arm.STABLE], 0.95, alpha / 2)
    ours, theirs = (float(np.percentile(values[arm], 95)) for arm in (Arm.CANDIDATE, Arm.STABLE))
    ratio = ours / max(theirs, 1e-9)
    numbers = {
        "candidate_p95_ms": ours,
        "stable_p95_ms": theirs,
        "ratio": ratio,
        "low": ours_low / high if high else 0.0,
        "high": _finite(ours_high / low) if low else None,
        "limit": limit,
    }
    told = (
        f"p95 {ours:.1f} ms against {theirs:.1f} ms, {ratio:.2f} times "
        f"(limit {limit:g}, or {enough:g} ms)"
    )
    if ours_low > max(limit * high, enough):
        return Finding("latency", Verdict.ROLL_BACK, told, numbers)
    good = ours <= max(limit * theirs, enough)
    return Finding("latency", Verdict.PROMOTE if good else Verdict.HOLD, told, numbers)


def _hit_rate(
    records: Sequence[Record], config: RolloutConfig, alpha: float, *, deciding: bool
) -> Finding:
    told_of = [record for record in records if record.hit is not None]
    stream = sequential.blocks(
        [record.arm is Arm.CANDIDATE for record in told_of], [bool(r.hit) for r in told_of]
    )
    strata = [_stratum([r for r in told_of if r.step == s]) for s in {r.step for r in told_of}]
    low, high = sequential.difference_interval(stream, alpha)
    kept = retention.kept(strata, config.false_pass)
    arms = {arm: figures([r for r in told_of if r.arm is arm]) for arm in Arm}
    ours, theirs = arms[Arm.CANDIDATE], arms[Arm.STABLE]
    gain = retention.difference(strata)
    numbers = {
        "candidate": ours.hit_rate,
        "stable": theirs.hit_rate,
        "difference": gain,
        "low": low,
        "high": high,
        "kept_at_least": kept,
        "must_keep": config.hit_rate_kept,
        "margin": config.hit_rate_margin,
    }
    told = (
        f"hit rate {_percent(ours.hit_rate)} against {_percent(theirs.hit_rate)}, "
        f"{100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    )
    harm = sequential.worse_by(stream, [-config.hit_rate_margin])[0]
    if harm >= math.log(1 / alpha):
        return Finding("hit_rate", Verdict.ROLL_BACK, f"{told}: worse", numbers)
    if not deciding:
        return Finding("hit_rate", Verdict.PROMOTE, f"{told}: not shown to be worse", numbers)
    told += f", keeps at least {kept:.0%} of the champion's (must: {config.hit_rate_kept:.0%})"
    if kept >= config.hit_rate_kept:
        return Finding("hit_rate", Verdict.PROMOTE, told, numbers)
    needed = retention.users_needed(theirs.hit_rate or 0.0, config.hit_rate_kept, config.false_pass)
    if needed:
        told += f"; that takes about {needed} users per arm if both are equally good"
    return Finding("hit_rate", Verdict.HOLD, told, numbers)


def _stratum(records: Sequence[Record]) -> Stratum:
    arms = {arm: figures([r for r in records if r.arm is arm]) for arm in Arm}
    stable, candidate = arms[Arm.STABLE], arms[Arm.CANDIDATE]
    return Stratum((stable.hits, stable.outcomes), (candidate.hits, candidate.outcomes))


def _worst(findings: Sequence[Finding]) -> Verdict:
    found = {finding.verdict for finding in findings}
    return next(v for v in (Verdict.ROLL_BACK, Verdict.HOLD, Verdict.PROMOTE) if v in found)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.1%}"
