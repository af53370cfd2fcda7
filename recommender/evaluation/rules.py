"""The rules of the gate: each looks at one thing in the evidence and says what it found."""

from __future__ import annotations

from typing import Literal

from recommender.config.evaluation import GateConfig
from recommender.evaluation.evidence import (
    CANDIDATE,
    CHAMPION,
    ChampionFacts,
    Comparison,
    Evidence,
    Record,
)

Verdict = Literal["pass", "fail", "insufficient"]


class Rule(Record):
    """What one rule said.

    Attributes:
        rule: its name, in words.
        verdict: what it said.
        reason: why, in a sentence with the figures.
        value: the number that was judged, if it is one.
        low: lower end of its interval.
        high: upper end.
        threshold: what it was judged against.
        users: how many stand behind the number.
        note: what else a reader should know of the number.
    """

    rule: str
    verdict: Verdict
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    users: int | None = None
    note: str = ""


def scores_are_numbers(evidence: Evidence) -> Rule:
    """Fail a candidate that scored an item NaN or infinite, or that was not measured."""
    candidate = evidence.system(CANDIDATE)
    bad = candidate.nonfinite_scores if candidate else 0
    measured = candidate is not None and candidate.metrics[evidence.primary].estimate is not None
    good = measured and not bad
    return Rule(
        rule="scores are numbers",
        verdict="pass" if good else "fail",
        reason="every score was finite."
        if good
        else f"{bad} scores of the candidate were NaN or infinite."
        if measured
        else "the candidate has no metrics.",
        value=float(bad),
        threshold=0,
    )


def plausible(evidence: Evidence, policy: GateConfig) -> Rule:
    """Fail a candidate that is too good: the answers must have leaked into its features."""
    candidate = evidence.system(CANDIDATE)
    value = candidate.metrics[evidence.primary].estimate if candidate else None
    limit = policy.implausible_ndcg
    leak = value is not None and value > limit
    return Rule(
        rule="plausible",
        verdict="fail" if leak else "pass",
        reason=f"{_name(evidence)} of {value:.4f} is above {limit}: too good to be true. Look "
        "for answers that leaked into the features."
        if leak
        else f"{_name(evidence)} is not above {limit}, where a leak would be suspected.",
        value=value,
        threshold=limit,
    )


def enough_users(evidence: Evidence, policy: GateConfig) -> Rule:
    """Refuse a verdict on few users."""
    users, least = evidence.evaluation_set.users, policy.minimum_users
    return Rule(
        rule="enough users",
        verdict="pass" if users >= least else "insufficient",
        reason=f"{users:,} test users; {least:,} are asked for.",
        value=users,
        threshold=least,
        users=users,
    )


def beats(evidence: Evidence, rival: str, policy: GateConfig) -> Rule:
    """Judge superiority: the absolute difference is above the minimum gain."""
    found = evidence.comparison(rival)
    rule, gain = f"beats {rival}", policy.minimum_gain
    if found is None:
        return Rule(rule=rule, verdict="fail", reason=f"{rival} was not measured.")
    difference = found.difference[evidence.primary]
    verdict = _side(difference.estimate, difference.low, gain, found.users, policy.minimum_users)
    more = f" by more than {gain:g}" if gain else ""
    said = {
        "pass": f"better than {rival}{more}",
        "fail": f"not better than {rival}{more}",
        "insufficient": f"not sure to be better than {rival}{more}",
    }[verdict]
    return Rule(
        rule=rule,
        verdict=verdict,
        reason=f"{said}: {_versus(evidence, found)}, a difference of "
        f"{_signed(difference.estimate)} ({_ends(difference.low, difference.high)}), "
        f"{_users(found.users, policy.minimum_users)}; the least they can show is "
        f"{_number(found.detectable[evidence.primary])}.",
        note=_chance(evidence, found),
        value=difference.estimate,
        low=difference.low,
        high=difference.high,
        threshold=gain,
        users=found.users,
    )


def not_worse(
    evidence: Evidence, rival: str, margin: float, minimum_users: int, called: str = ""
) -> Rule:
    """Judge non-inferiority: the relative loss is smaller than the margin."""
    called = called or rival
    found = evidence.comparison(rival)
    rule = f"not worse than {called}"
    if found is None:
        return Rule(rule=rule, verdict="fail", reason=f"{called} was not measured.")
    relative = found.relative[evidence.primary]
    estimate, low, high, threshold = relative.estimate, relative.low, relative.high, -margin
    unit = ".1%"
    if low is None:
        # The rival may be at zero, so a share of it means nothing: any loss at all counts.
        difference = found.difference[evidence.primary]
        estimate, low, high, threshold = difference.estimate, difference.low, difference.high, 0
        unit = ".4f"
    verdict = _side(estimate, low, threshold, found.users, minimum_users, strict=False)
    said = {
        "pass": f"not worse than {called} by more than {margin:.1%}",
        "fail": f"worse than {called} by more than {margin:.1%}"
        + ("" if high is not None and high < threshold else " as far as one can tell"),
        "insufficient": f"it may be worse than {called} by more than {margin:.1%}",
    }[verdict]
    return Rule(
        rule=rule,
        verdict=verdict,
        reason=f"{said}: {_versus(evidence, found)}, a difference of "
        f"{_signed(estimate, unit)} ({_ends(low, high, unit)}), "
        f"{_users(found.users, minimum_users)}.",
        note=_chance(evidence, found),
        value=estimate,
        low=low,
        high=high,
        threshold=threshold,
        users=found.users,
    )


def not_worse_than_champion(evidence: Evidence, policy: GateConfig) -> Rule:
    """Judge non-inferiority to the champion, on the last fold's users."""
    champion = evidence.champion
    rule = "not worse than the champion"
    if champion is None:
        return Rule(rule=rule, verdict="pass", reason="no champion yet: this is the first one.")
    called = f"the champion {champion.version}"
    if evidence.comparison(CHAMPION) is None:
        return Rule(
            rule=rule,
            verdict="insufficient",
            reason=f"no user of the last test window can be asked about {called}.",
            users=0,
        )
    judged = not_worse(evidence, CHAMPION, policy.champion_margin, policy.minimum_users, called)
    reason = judged.reason
    if champion.saw_the_test:
        reason += " The champion was trained on part of this test window, which favours it."
    if champion.missing_items:
        reason += f" It doesn't know {champion.missing_items:,} items; they were ranked last."
    if champion.to_replace:
        reason += f" {must_go(champion)}"
    return judged.model_copy(update={"rule": rule, "reason": reason})


def differs_from_champion(evidence: Evidence) -> Rule:
    """Fail a candidate that is the champion again: deploying it would change nothing."""
    champion = evidence.champion
    rule = "differs from the champion"
    if champion is None:
        return Rule(rule=rule, verdict="pass", reason="no champion yet: this is the first one.")
    if champion.identical == "lists" and champion.to_replace:
        # It was trained anew without those people: that it ranks alike is no reason to keep the
        # model that saw them.
        return Rule(
            rule=rule,
            verdict="pass",
            reason=f"the same lists as {champion.version}, but other bytes. {must_go(champion)}",
        )
    if champion.identical == "bytes":
        reason = f"the candidate is byte for byte the champion {champion.version}."
    elif champion.identical == "lists":
        reason = (
            f"the candidate recommended the same lists as the champion {champion.version} "
            "to every test request."
        )
    else:
        reason = f"the candidate's recommendations aren't those of {champion.version}."
    return Rule(rule=rule, verdict="fail" if champion.identical else "pass", reason=reason)


def must_go(champion: ChampionFacts) -> str:
    """Say why a champion must be replaced, whatever the figures."""
    people = "person" if champion.to_replace == 1 else "people"
    return (
        f"The champion saw {champion.to_replace:,} {people} who have asked to be forgotten since: "
        "it must be replaced, so not being worse is enough."
    )


def _side(
    estimate: float | None,
    low: float | None,
    threshold: float,
    users: int,
    minimum_users: int,
    *,
    strict: bool = True,
) -> Verdict:
    """Tell on which side of a threshold an estimate is, and how sure that is.

    Args:
        estimate: larger is better.
        low: the lower end of its interval.
        threshold: to be above of (or, not strictly, at).
        users: behind the estimate.
        minimum_users: with fewer, nothing is sure.
        strict: whether being at the threshold is not enough.
    """
    if users < minimum_users or estimate is None or low is None:
        return "insufficient"
    if low > threshold or (low == threshold and not strict):
        return "pass"
    return "fail" if estimate < threshold or (estimate == threshold and strict) else "insufficient"


def _name(evidence: Evidence) -> str:
    return evidence.primary.upper()


def _versus(evidence: Evidence, found: Comparison) -> str:
    ours = found.candidate[evidence.primary].estimate
    theirs = found.rival_metrics[evidence.primary].estimate
    return f"{_name(evidence)} {_number(ours)} against {_number(theirs)}"


def _chance(evidence: Evidence, found: Comparison) -> str:
    """Say which p-value is adjusted, and that the interval that decides is not."""
    plain, adjusted = found.p.get(evidence.primary), found.adjusted.get(evidence.primary)
    if plain is None or adjusted is None:
        return "The interval, which decides, is not adjusted: one metric, named beforehand."
    return (
        "The interval, which decides, is not adjusted: one metric, named beforehand. The p-value "
        f"of no difference is {plain:.2g}, adjusted for {len(found.adjusted)} metrics (Holm) "
        f"{adjusted:.2g}."
    )


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _users(users: int, least: int) -> str:
    return f"{users:,} users" + (f", fewer than the {least:,} asked for" if users < least else "")


def _signed(value: float | None, unit: str = ".4f") -> str:
    return "unknown" if value is None else f"{value:+{unit}}"


def _ends(low: float | None, high: float | None, unit: str = ".4f") -> str:
    return f"{_signed(low, unit)} to {_signed(high, unit)}"
