"""The verdict on a shadow: does the candidate break, how long does it take, how different is it?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from recommender.config.rollout import RolloutConfig
from serving.rollout import live_guardrails as guardrails
from serving.rollout.analysis import Analysis, conclude
from serving.rollout.guardrails import Finding, Verdict
from serving.rollout.live_evidence import LiveEvidence
from serving.rollout.plan import Plan, Step
from serving.rollout.records import Arm, Record, Tells
from serving.rollout.sequential import rate_above
from serving.rollout.shadow import Comparison

# Every request is answered by both arms: half of the answers are the candidate's.
_PLAN = Plan((Step(50, 0, 0), Step(100, 0, 0)), (), 0)
_GUARDRAILS = 4


def analyse_shadow(compared: Sequence[Comparison], config: RolloutConfig) -> Analysis:
    """Judge everything that was compared up to now.

    Args:
        compared: each request once.
        config: `shadow`, and the limits on errors and latency.
    """
    alpha = config.false_alarm / _GUARDRAILS
    seen = LiveEvidence(_both(compared))
    enough = _enough(compared, config)
    others = (
        _errors(compared, config, alpha),
        guardrails.latency(seen, _PLAN, config, alpha),
        _above(
            "overlap",
            "share of the champion's items that the candidate recommends, too",
            compared,
            lambda one: one.overlap,
            config.shadow.minimum_overlap,
            0.0,
            alpha,
        ),
        _above(
            "score_drift",
            "rank correlation of the scores of the items that both recommend",
            compared,
            lambda one: one.rank_correlation,
            config.shadow.minimum_rank_correlation,
            -1.0,
            alpha,
        ),
    )
    ratio = Finding("sample_ratio", Verdict.PROMOTE, "every request is answered by both arms", {})
    arms = guardrails.figures(seen, 0)
    # An answer that is broken is broken, however few there are: that test is exact.
    at_once = others[0].verdict is Verdict.ROLL_BACK
    return conclude(enough, ratio, others, arms, at_once=at_once)


def _both(compared: Sequence[Comparison]) -> list[Record]:
    """Return both answers to each request as records."""
    found = []
    for one in compared:
        for arm, latency, error in (
            (Arm.STABLE, one.stable_ms, ""),
            (Arm.CANDIDATE, one.candidate_ms, one.error),
        ):
            found.append(
                Record(
                    user=one.user,
                    step=0,
                    arm=arm,
                    version="",
                    status=200,
                    latency_ms=latency,
                    hit=None,
                    error=error,
                    request=one.request,
                    tells=Tells.ANSWER,
                    time=one.time,
                )
            )
    return found


def _enough(compared: Sequence[Comparison], config: RolloutConfig) -> Finding:
    users = len({one.user for one in compared})
    needed = config.shadow
    told = f"{len(compared)} requests of {users} users were answered by both"
    numbers = {"requests": float(len(compared)), "users": float(users)}
    if len(compared) >= needed.requests and users >= needed.users:
        return Finding("users", Verdict.PROMOTE, told, numbers)
    told += f": too few for a verdict (minimum {needed.requests} of {needed.users})"
    return Finding("users", Verdict.HOLD, told, numbers)


def _errors(compared: Sequence[Comparison], config: RolloutConfig, alpha: float) -> Finding:
    """Judge the failed answers; the exact test takes each user's first request only."""
    failed = sum(bool(one.error) for one in compared)
    rate, limit = failed / max(len(compared), 1), config.maximum_error_rate
    firsts: dict[str, bool] = {}
    for one in compared:
        firsts.setdefault(one.user, bool(one.error))
    told = f"{failed} of {len(compared)} answers of the candidate failed (limit {limit:.1%})"
    if example := next((one.error for one in compared if one.error), ""):
        told += f", e.g. {example}"
    numbers: dict[str, float | None] = {"candidate": rate if compared else None, "limit": limit}
    if rate_above(sum(firsts.values()), len(firsts), limit) >= math.log(1 / alpha):
        return Finding("errors", Verdict.ROLL_BACK, told, numbers)
    verdict = Verdict.HOLD if rate > limit or not compared else Verdict.PROMOTE
    return Finding("errors", verdict, told, numbers)


def _above(
    name: str,
    what: str,
    compared: Sequence[Comparison],
    value: Callable[[Comparison], float | None],
    minimum: float,
    floor: float,
    alpha: float,
) -> Finding:
    """Judge the mean of a value over users against a minimum.

    The bound is a confidence sequence for means (Waudby-Smith et al. 2021, "Time-uniform central
    limit theory and asymptotic confidence sequences", equation 3), over the users' own means.
    """
    by_user: dict[str, list[float]] = {}
    for one in compared:
        if (told := value(one)) is not None:
            by_user.setdefault(one.user, []).append(told)
    means = np.array([np.mean(values) for values in by_user.values()])
    if len(means) < 2:
        # Nothing is asked where the minimum is what every value reaches.
        verdict = Verdict.HOLD if minimum > floor else Verdict.PROMOTE
        nothing: dict[str, float | None] = {"mean": None, "minimum": minimum}
        return Finding(name, verdict, f"no {what} to be told", nothing)
    mean = float(means.mean())
    reach = _reach(means, alpha)
    quarter, half = np.percentile(means, [25, 50])
    numbers = {
        "mean": mean,
        "low": mean - reach,
        "high": mean + reach,
        "median": float(half),
        "lower_quartile": float(quarter),
        "minimum": minimum,
    }
    told_of = f"{what}: {mean:.2f} ± {reach:.2f} over {len(means)} users (minimum {minimum:g})"
    if mean + reach < minimum:
        return Finding(name, Verdict.ROLL_BACK, told_of, numbers)
    verdict = Verdict.PROMOTE if mean >= minimum else Verdict.HOLD
    return Finding(name, verdict, told_of, numbers)


def _reach(values: np.ndarray[tuple[int], np.dtype[np.float64]], alpha: float) -> float:
    """Return half the width of the confidence sequence; tightest at about 200 users."""
    n, rho = len(values), math.sqrt((2 * math.log(1 / alpha) + 2) / 200)
    inside = (n * rho**2 + 1) / (n**2 * rho**2) * math.log((n * rho**2 + 1) / alpha**2)
    return float(values.std(ddof=1)) * math.sqrt(inside)
