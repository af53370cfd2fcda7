"""The rules about what lies behind the average."""

from __future__ import annotations

import pytest
from evidence_builder import evidence, interval

from recommender.config.evaluation import GateConfig
from recommender.config.slices import SlicesConfig
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.findings import (
    BudgetFacts,
    CurvePoint,
    Findings,
    GapFacts,
    HeadFacts,
    ProviderFacts,
    SliceFacts,
)
from recommender.evaluation.gate import judge


def group(relative: float, p: float | None, *, judged: bool = True) -> SliceFacts:
    return SliceFacts(
        family="country",
        name="Chile",
        users=300,
        requests=900,
        candidate=0.1 * (1 + relative),
        rival=0.1,
        difference=interval(0.1 * relative, 0.1 * relative - 0.01, 0.1 * relative + 0.01),
        relative=relative,
        p=p,
        judged=judged,
    )


def head(error: float) -> HeadFacts:
    return HeadFacts(
        event="click",
        cases=5000,
        positives=900,
        users=700,
        judged_users=600,
        auc=0.7,
        user_auc=0.69,
        log_loss=0.4,
        item_auc=0.6,
        item_user_auc=0.6,
        item_log_loss=0.5,
        accuracy=0.8,
        precision=0.5,
        recall=0.5,
        f1=0.5,
        calibration_error=error,
        curve=(CurvePoint(predicted=0.2, happened=0.2, low=0.1, high=0.3, count=5000),),
    )


def gap(*, within: bool) -> GapFacts:
    return GapFacts(
        family="age",
        best="young",
        worst="old",
        gap=interval(0.2, 0.15, 0.25),
        rival_gap=0.02,
        tolerance=0.1,
        within=within,
    )


def provider(*, within: bool) -> ProviderFacts:
    return ProviderFacts(
        family="brand", name="Acme", shown=0.5, earned=0.1, ratio=5.0, taken=800, within=within
    )


def found(**parts) -> Evidence:
    findings = Findings(compared_with="item-knn", **parts)
    return evidence().model_copy(update={"findings": findings})


def rule(name: str, about: Evidence, **policy):
    decision = judge(about, GateConfig(**policy), SlicesConfig())
    return next(each for each in decision.rules if each.rule == name), decision


@pytest.mark.parametrize(
    ("slices", "verdict"),
    [
        ((group(-0.3, 0.001),), "fail"),
        ((group(-0.3, 0.2),), "pass"),  # it may be chance
        ((group(-0.1, 0.001),), "pass"),  # within the tolerance of 20 %
        ((group(-0.9, 0.001, judged=False),), "pass"),  # too few people to accuse anybody
        ((group(+0.5, 0.001), group(-0.3, 0.01)), "fail"),
        ((), "pass"),
    ],
)
def test_a_group_that_is_served_much_worse_beyond_chance_fails(slices, verdict) -> None:
    judged, decision = rule("no group left behind", found(slices=slices))
    assert judged.verdict == verdict
    assert decision.verdict == verdict
    if verdict == "fail":
        assert "country “Chile”, -30.0%, 300 users" in judged.reason


def test_groups_can_be_left_to_people() -> None:
    judged, _ = rule("no group left behind", found(slices=(group(-0.3, 0.001),)), slices=False)
    assert judged.verdict == "pass"


@pytest.mark.parametrize(
    ("error", "limit", "verdict"), [(0.02, 0.15, "pass"), (0.3, 0.15, "fail"), (0.3, None, "pass")]
)
def test_probabilities_must_come_true(error: float, limit: float | None, verdict: str) -> None:
    judged, _ = rule("calibrated", found(heads=(head(error),)), maximum_calibration_error=limit)
    assert judged.verdict == verdict


@pytest.mark.parametrize("strict", [True, False])
def test_unfairness_is_always_said_and_fails_where_policy_says_so(strict: bool) -> None:
    about = found(gaps=(gap(within=False),), providers=(provider(within=False),))
    judged, _ = rule("fair", about, fairness=strict)
    assert judged.verdict == ("fail" if strict else "pass")
    assert "young +0.200 above old (item-knn: +0.020)" in judged.reason
    assert "brand Acme is shown 5.0 × its share" in judged.reason
    fine, _ = rule("fair", found(gaps=(gap(within=True),)), fairness=strict)
    assert fine.verdict == "pass"


@pytest.mark.parametrize(
    ("policy", "verdict"),
    [
        ({}, "pass"),
        ({"maximum_mb": 3}, "pass"),
        ({"maximum_mb": 1}, "fail"),
        ({"maximum_ms": 1}, "fail"),
        ({"maximum_ms": 9, "maximum_mb": 9}, "pass"),
    ],
)
def test_a_budget_of_size_and_time(policy: dict, verdict: str) -> None:
    about = found(budget=BudgetFacts(bytes=2_000_000, milliseconds=4.0))
    judged, _ = rule("within budget", about, **policy)
    assert judged.verdict == verdict
    assert "2.0 MB of weights, 4.0 ms" in judged.reason


def test_a_budget_that_was_not_measured_is_never_a_pass_where_one_is_asked_for() -> None:
    assert rule("within budget", evidence(), maximum_ms=5)[0].verdict == "insufficient"
    assert rule("within budget", evidence())[0].verdict == "pass"


@pytest.mark.parametrize(
    ("floor", "verdict"), [(0.1, "pass"), (0.195, "insufficient"), (0.25, "fail")]
)
def test_an_absolute_floor(floor: float, verdict: str) -> None:
    """The builder's candidate has 0.2, from 0.19 to 0.21."""
    judged, _ = rule("above the floor", evidence(), floor_ndcg=floor)
    assert judged.verdict == verdict
