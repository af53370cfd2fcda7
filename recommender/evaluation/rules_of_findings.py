"""The rules of the gate about what lies behind the average: groups, heads, fairness, cost."""

from __future__ import annotations

from recommender.config.evaluation import GateConfig
from recommender.config.slices import SlicesConfig
from recommender.evaluation.evidence import CANDIDATE, Evidence
from recommender.evaluation.rules import Rule

LEVEL = 0.05
"""Of Holm-corrected p-values: how often any group may be accused by chance."""


def above_floor(evidence: Evidence, policy: GateConfig) -> Rule:
    """Judge the candidate by itself: the lower end of its metric against the floor."""
    candidate = evidence.system(CANDIDATE)
    found = candidate.metrics[evidence.primary] if candidate else None
    low, users = (found.low if found else None), (candidate.users if candidate else 0)
    floor, name = policy.floor_ndcg, evidence.primary.upper()
    if found is None or found.estimate is None or low is None:
        return Rule(
            rule="above the floor",
            verdict="insufficient",
            reason=f"{name} of {users:,} users has no interval.",
            threshold=floor,
            users=users,
        )
    verdict = "pass" if low >= floor else "fail" if found.estimate < floor else "insufficient"
    return Rule(
        rule="above the floor",
        verdict=verdict,
        reason=f"{name} is {found.estimate:.4f} (from {low:.4f}); at least {floor:g} is asked for.",
        value=found.estimate,
        low=low,
        high=found.high,
        threshold=floor,
        users=users,
    )


def no_group_left_behind(evidence: Evidence, policy: GateConfig, slices: SlicesConfig) -> Rule:
    """Fail a candidate that is worse in some group by more than the tolerance, beyond chance."""
    rule = "no group left behind"
    if not policy.slices or evidence.findings is None:
        return Rule(rule=rule, verdict="pass", reason="not asked for.")
    judged = [each for each in evidence.findings.slices if each.judged]
    rival, most = evidence.findings.compared_with, slices.maximum_loss
    worse = [
        each
        for each in judged
        if each.relative is not None
        and each.relative < -most
        and each.p is not None
        and each.p < LEVEL
    ]
    if not worse:
        return Rule(
            rule=rule,
            verdict="pass",
            reason=f"in none of {len(judged)} groups of {slices.minimum_users:,} users or more is "
            f"it worse than {rival} by more than {most:.0%} (Holm-corrected at {LEVEL:.0%}).",
            threshold=-most,
        )
    worst = min(worse, key=lambda each: each.relative or 0.0)
    return Rule(
        rule=rule,
        verdict="fail",
        reason=f"worse than {rival} by more than {most:.0%} in {len(worse)} of {len(judged)} "
        f"groups; worst: {worst.family} “{worst.name}”, {worst.relative:+.1%}, "
        f"{worst.users:,} users, p = {worst.p:.2g} after correction.",
        value=worst.relative,
        threshold=-most,
        users=worst.users,
    )


def calibrated(evidence: Evidence, policy: GateConfig) -> Rule:
    """Fail a candidate whose probabilities don't come true."""
    rule, most = "calibrated", policy.maximum_calibration_error
    heads = evidence.findings.heads if evidence.findings else ()
    if most is None or not heads:
        return Rule(
            rule=rule,
            verdict="pass",
            reason="not asked for." if most is None else "no action head could be judged.",
        )
    worst = max(heads, key=lambda head: head.calibration_error)
    good = worst.calibration_error <= most
    return Rule(
        rule=rule,
        verdict="pass" if good else "fail",
        reason=f"the expected calibration error of “{worst.event}” is "
        f"{worst.calibration_error:.3f} over {worst.cases:,} cases; {most:g} is allowed.",
        value=worst.calibration_error,
        threshold=most,
        users=worst.users,
    )


def fair(evidence: Evidence, policy: GateConfig) -> Rule:
    """Look at gaps between groups and at providers' exposure; fail only where policy says so."""
    rule = "fair"
    if evidence.findings is None:
        return Rule(rule=rule, verdict="pass", reason="not looked at.")
    gaps = [gap for gap in evidence.findings.gaps if not gap.within]
    providers = [each for each in evidence.findings.providers if not each.within]
    looked = len(evidence.findings.gaps), len(evidence.findings.providers)
    if not gaps and not providers:
        return Rule(
            rule=rule,
            verdict="pass",
            reason=f"{looked[0]} attributes of people and {looked[1]} providers are within "
            "tolerance.",
        )
    said = [
        f"{gap.family}: {gap.best} {gap.gap.estimate:+.3f} above {gap.worst} "
        f"({evidence.findings.compared_with}: {gap.rival_gap:+.3f})"
        for gap in gaps
    ]
    said += [
        f"{each.family} {each.name} is shown {each.ratio:.1f} × its share" for each in providers
    ]
    return Rule(
        rule=rule,
        verdict="fail" if policy.fairness else "pass",
        reason=f"out of tolerance{'' if policy.fairness else ' (reported, not judged)'}: "
        + "; ".join(said)
        + ".",
    )


def within_budget(evidence: Evidence, policy: GateConfig) -> Rule:
    """Judge size and time for one request."""
    rule = "within budget"
    budget = evidence.findings.budget if evidence.findings else None
    if budget is None:
        asked = policy.maximum_mb is not None or policy.maximum_ms is not None
        return Rule(
            rule=rule,
            verdict="insufficient" if asked else "pass",
            reason="size and time were not measured.",
        )
    megabytes = budget.bytes / 1e6
    over = []
    if policy.maximum_mb is not None and megabytes > policy.maximum_mb:
        over.append(f"{policy.maximum_mb:g} MB are allowed")
    if policy.maximum_ms is not None and budget.milliseconds > policy.maximum_ms:
        over.append(f"{policy.maximum_ms:g} ms are allowed")
    said = f"{megabytes:.1f} MB of weights, {budget.milliseconds:.1f} ms for one request"
    return Rule(
        rule=rule,
        verdict="fail" if over else "pass",
        reason=f"{said}; {' and '.join(over)}." if over else f"{said}.",
        value=megabytes,
        threshold=policy.maximum_mb,
    )
