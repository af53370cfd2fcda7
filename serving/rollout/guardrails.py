"""The guardrails: each looks at one thing and says promote, hold or roll back.

The rules, and how they add up, are told in `serving.rollout.analysis`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import chi2

from recommender.config.rollout import RolloutConfig
from serving.rollout import retention, sequential
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record
from serving.rollout.retention import Stratum


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
        requests: of theirs.
    """

    users: int
    errors: int
    hits: int
    outcomes: int
    fallbacks: int
    p50_ms: float | None
    p95_ms: float | None
    requests: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of the users with an outcome who were hit, None without any."""
        return self.hits / self.outcomes if self.outcomes else None


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
        requests=len(records),
    )


def users(records: Sequence[Record], minimum: int, *, both: bool) -> Finding:
    """Hold while an arm has fewer users than any verdict needs.

    Args:
        records: of the step at hand.
        minimum: users per arm.
        both: whether both arms are served in it.
    """
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


def sample_ratio(records: Sequence[Record], plan: Plan, alpha: float) -> Finding:
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


def errors(records: Sequence[Record], limit: float, alpha: float) -> Finding:
    """Judge the candidate's failed requests against a limit of their share.

    Args:
        records: of all steps: the limit is absolute and needs no rival.
        limit: share of failed requests.
        alpha: chance of a false alarm, over all looks.
    """
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


def latency(records: Sequence[Record], config: RolloutConfig, alpha: float) -> Finding:
    """Judge the ratio of both arms' 95th percentiles; failed requests aren't timed.

    Args:
        records: of the steps in which both arms were served.
        config: the limit, and what is good in any case.
        alpha: chance of a false alarm, over all looks.
    """
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


def hit_rate(
    records: Sequence[Record], config: RolloutConfig, alpha: float, *, deciding: bool
) -> Finding:
    """Judge the hits of users of whom it can be told.

    Args:
        records: of the steps in which both arms were served, in the order of the users.
        config: the margin, and what must be kept.
        alpha: chance of a false alarm, over all looks.
        deciding: whether it must be shown that the candidate keeps its share.
    """
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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.1%}"
