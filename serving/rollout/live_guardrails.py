"""The guardrails on live traffic: the user is the unit, and comes back as often as he likes.

They look at the same things as `serving.rollout.guardrails`, and say the same three words. The
difference is in the numbers behind them: rates are of requests, their variance is over users
(`serving.rollout.clustered`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recommender.config.rollout import RolloutConfig
from serving.rollout import clustered, sequential
from serving.rollout.clustered import Estimate
from serving.rollout.guardrails import Figures, Finding, Verdict
from serving.rollout.live_evidence import LiveEvidence
from serving.rollout.plan import Plan
from serving.rollout.records import Arm

Bools = NDArray[np.bool_]

# The normal approximation is good once the smaller arm would have so many events.
_EVENTS = 5.0


def figures(seen: LiveEvidence, step: int) -> dict[Arm, Figures]:
    """Sum up both arms of one step."""
    answers, outcomes = seen.answers, seen.outcomes
    here, told = answers.step == step, outcomes.step == step
    failed, user, latency = answers.flag, answers.user, answers.value
    found = {}
    for arm in Arm:
        mine = here & (answers.candidate == (arm is Arm.CANDIDATE))
        judged = told & (outcomes.candidate == (arm is Arm.CANDIDATE))
        good = latency[mine & ~failed]
        found[arm] = Figures(
            users=len(np.unique(user[mine])),
            errors=int(failed[mine].sum()),
            hits=int(outcomes.flag[judged].sum()),
            outcomes=int(judged.sum()),
            fallbacks=seen.fallbacks.get((step, arm), 0),
            p50_ms=float(np.percentile(good, 50)) if len(good) else None,
            p95_ms=float(np.percentile(good, 95)) if len(good) else None,
            requests=int(mine.sum()),
        )
    return found


def sample_ratio(seen: LiveEvidence, plan: Plan, alpha: float) -> Finding:
    """Check that the arms' users are what the shares promise.

    A user counts in the step in which he was first seen: only there is his arm a fresh draw, so
    the steps' evidence multiplies.
    """
    drawn = np.array([(step, ours) for step, ours, _ in seen.firsts.values()], np.int64)
    drawn = drawn.reshape(-1, 2)
    evidence = 0.0
    worst = (-1.0, "")
    for index, step in enumerate(plan.steps):
        arms = drawn[drawn[:, 0] == index, 1]
        # At 100 % one answer of the stable arm would be proof: of a Gateway that follows a moment
        # later, or of Knative, where the stable revision keeps 1 %. Shares are judged before.
        if not len(arms) or not step.concurrent:
            continue
        got = int(arms.sum())
        here = float(sequential.rate_other(got, len(arms), step.percent / 100))
        evidence += here
        if here > worst[0]:
            worst = (here, f"{got} of {len(arms)} new users at {step.percent} %")
    finite = evidence if math.isfinite(evidence) else None
    numbers = {"log_evidence": finite, "users": float(len(drawn))}
    if evidence >= math.log(1 / alpha):
        reason = f"sample-ratio mismatch: the candidate got {worst[1]}; the split is broken"
        return Finding("sample_ratio", Verdict.ROLL_BACK, reason, numbers)
    reason = f"arms have their shares of {len(drawn)} users"
    return Finding("sample_ratio", Verdict.PROMOTE, reason, numbers)


def errors(
    seen: LiveEvidence, plan: Plan, config: RolloutConfig, alpha: float, *, enough: bool
) -> Finding:
    """Judge the candidate's failed requests against the champion's at the same time.

    Two tests share `alpha`: an exact one on each user's first request, which holds from the first
    user on and catches a candidate that is simply broken; and one on all requests, which is the
    sharper the longer it runs.

    Args:
        seen: everything so far.
        plan: of the rollout.
        config: the limit and the margin.
        alpha: chance of a false alarm, over all looks.
        enough: whether there are users enough for the second test.
    """
    answers = seen.answers
    ours = answers.candidate
    failed, total = answers.flag[ours], int(ours.sum())
    rate = float(failed.mean()) if total else None
    share = _concurrent(plan)[answers.step] if len(answers) else np.zeros(0, bool)
    estimate = clustered.compare(answers.cells(share, answers.flag))
    limit = max(config.maximum_error_rate, _known(estimate.stable) or 0.0)
    numbers = _numbers(estimate, alpha / 2) | {"limit": limit, "rate": rate}
    told = f"{int(failed.sum())} of {total} requests of the candidate failed"
    told += f" (stable: {_percent(_known(estimate.stable))}; limit {limit:.1%})"
    if seen.example:
        told += f", e.g. {seen.example}"
    firsts = [
        (ours, bad) for step, ours, bad in seen.firsts.values() if plan.steps[step].concurrent
    ]
    # Success is the "hit" here: the candidate's must not be lower.
    stream = sequential.blocks([ours for ours, _ in firsts], [not bad for _, bad in firsts])
    proof = math.log(2 / alpha)
    broken = sequential.worse_by(stream, [-config.live.error_margin])[0] >= proof
    alone = _alone(seen, plan)
    if len(alone):
        # With everybody on the candidate there is nobody beside it: its own rate is judged.
        above = sequential.rate_above(int(alone.sum()), len(alone), limit) >= proof
        broken = broken or bool(above)
    if broken or (enough and _shown(estimate, config.live.error_margin, alpha / 2)):
        return Finding("errors", Verdict.ROLL_BACK, told, numbers)
    held = rate is None or rate > limit
    return Finding("errors", Verdict.HOLD if held else Verdict.PROMOTE, told, numbers)


def latency(seen: LiveEvidence, plan: Plan, config: RolloutConfig, alpha: float) -> Finding:
    """Judge how many requests are slow: above the limit on the candidate's 95th percentile.

    The candidate's p95 exceeds `maximum_latency_ratio` times the champion's exactly if more of its
    requests than of the champion's lie above their arm's bound. So a quantile becomes a rate,
    whose variance over users is known.
    """
    ratio, enough = config.maximum_latency_ratio, config.good_latency_ms
    answers = seen.answers
    chosen = _concurrent(plan)[answers.step] if len(answers) else np.zeros(0, bool)
    chosen = chosen & ~answers.flag
    ours, value = answers.candidate, answers.value
    mine, theirs = value[chosen & ours], value[chosen & ~ours]
    if not len(mine) or not len(theirs):
        reason = "an arm has no answered request"
        return Finding("latency", Verdict.HOLD, reason, {"limit": ratio})
    p95, stable = (float(np.percentile(values, 95)) for values in (mine, theirs))
    bound = max(ratio * stable, enough)
    slow = value > np.where(ours, bound, stable)
    estimate = clustered.compare(answers.cells(chosen, slow))
    numbers = _numbers(estimate, alpha) | {
        "candidate_p95_ms": p95,
        "stable_p95_ms": stable,
        "ratio": p95 / max(stable, 1e-9),
        "limit": ratio,
    }
    told = (
        f"p95 {p95:.1f} ms against {stable:.1f} ms, {p95 / max(stable, 1e-9):.2f} times "
        f"(limit {ratio:g}, or {enough:g} ms)"
    )
    if _shown(estimate, 0.0, alpha):
        return Finding("latency", Verdict.ROLL_BACK, told, numbers)
    return Finding("latency", Verdict.PROMOTE if p95 <= bound else Verdict.HOLD, told, numbers)


def hit_rate(
    seen: LiveEvidence, plan: Plan, config: RolloutConfig, alpha: float, *, deciding: bool
) -> Finding:
    """Judge the lists that people took something from.

    Args:
        seen: everything so far.
        plan: of the rollout.
        config: the margin, and what must be kept.
        alpha: chance of a false alarm, over all looks.
        deciding: whether it must be shown that the candidate keeps its share.
    """
    outcomes = seen.outcomes
    chosen = _concurrent(plan)[outcomes.step] if len(outcomes) else np.zeros(0, bool)
    cells = outcomes.cells(chosen, outcomes.flag)
    estimate = clustered.compare(cells)
    low, high = clustered.interval(estimate, alpha)
    ours, theirs = _known(estimate.candidate), _known(estimate.stable)
    numbers = _numbers(estimate, alpha) | {
        "must_keep": config.hit_rate_kept,
        "margin": config.hit_rate_margin,
    }
    told = f"hit rate {_percent(ours)} against {_percent(theirs)} of {int(cells.counted.sum())} "
    told += f"lists, {100 * estimate.difference:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"
    if _shown(_mirrored(estimate), config.hit_rate_margin, alpha):
        return Finding("hit_rate", Verdict.ROLL_BACK, f"{told}: worse", numbers)
    if not deciding:
        return Finding("hit_rate", Verdict.PROMOTE, f"{told}: not shown to be worse", numbers)
    kept = clustered.compare(cells, config.hit_rate_kept)
    if _shown(kept, 0.0, config.false_pass):
        told += f"; shown to keep {config.hit_rate_kept:.0%} of the champion's"
        return Finding("hit_rate", Verdict.PROMOTE, told, numbers)
    told += f"; not yet shown to keep {config.hit_rate_kept:.0%} of the champion's"
    return Finding("hit_rate", Verdict.HOLD, told, numbers)


def _shown(estimate: Estimate, null: float, alpha: float) -> bool:
    if estimate.expected < _EVENTS:
        return False
    found = clustered.evidence(estimate.difference, estimate.variance, null)
    return bool(found >= math.log(1 / alpha))


def _mirrored(estimate: Estimate) -> Estimate:
    return Estimate(
        -estimate.difference,
        estimate.variance,
        estimate.candidate,
        estimate.stable,
        estimate.expected,
    )


def _concurrent(plan: Plan) -> Bools:
    return np.array([step.concurrent for step in plan.steps], bool)


def _alone(seen: LiveEvidence, plan: Plan) -> Bools:
    """Return whether each user's first request at 100 % failed, in the order of their coming."""
    answers = seen.answers
    rows = np.flatnonzero(~_concurrent(plan)[answers.step]) if len(answers) else np.zeros(0)
    rows = rows.astype(np.int64)
    _, first = np.unique(answers.user[rows], return_index=True)
    return np.asarray(answers.flag[rows[np.sort(first)]])


def _numbers(estimate: Estimate, alpha: float) -> dict[str, float | None]:
    low, high = clustered.interval(estimate, alpha)
    return {
        "candidate": _known(estimate.candidate),
        "stable": _known(estimate.stable),
        "difference": estimate.difference,
        "standard_error": math.sqrt(estimate.variance),
        "low": low,
        "high": high,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.2%}"
