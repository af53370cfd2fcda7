"""The gate's truth table: what passes, what fails, and what the data can't tell."""

from __future__ import annotations

import pytest
from evidence_builder import NAMES, champion, comparison, evidence, interval
from hypothesis import given
from hypothesis import strategies as st

from recommender.config.evaluation import EvaluationConfig, GateConfig
from recommender.errors import ArtifactError
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.gate import Decision, judge

POLICY = GateConfig()


def said(decision: Decision) -> dict[str, str]:
    return {rule.rule: rule.verdict for rule in decision.rules if rule.verdict != "pass"}


def test_a_candidate_that_is_better_in_every_way_passes() -> None:
    decision = judge(evidence(), POLICY)
    assert (decision.verdict, decision.action, said(decision)) == ("pass", "deploy", {})
    assert decision.champion_version is None
    assert "no champion yet" in next(
        rule.reason for rule in decision.rules if rule.rule == "not worse than the champion"
    )


@pytest.mark.parametrize(
    ("users", "verdict"), [(499, "insufficient"), (500, "pass"), (1, "insufficient")]
)
def test_under_the_minimum_of_users_nothing_passes(users: int, verdict: str) -> None:
    decision = judge(evidence(users=users), POLICY)
    assert decision.verdict == verdict
    if verdict == "insufficient":
        assert decision.action == "reject"
        assert f"{users} test users; 500 are asked for" in decision.headline


def test_with_few_users_even_a_clear_loss_is_not_called_one() -> None:
    decision = judge(evidence(users=74, popularity=comparison("popularity", -0.08, -0.05)), POLICY)
    assert decision.verdict == "insufficient"
    assert said(decision)["beats popularity"] == "insufficient"


@pytest.mark.parametrize(
    ("low", "estimate", "verdict"),
    [
        (0.001, 0.01, "pass"),
        (0.0, 0.01, "insufficient"),  # the interval touches the threshold
        (-0.01, 0.01, "insufficient"),
        (-0.02, 0.0, "fail"),
        (-0.03, -0.01, "fail"),
    ],
)
@pytest.mark.parametrize("rival", ["popularity", "recent-popularity"])
def test_the_candidate_must_beat(rival: str, low: float, estimate: float, verdict: str) -> None:
    found = evidence(**{rival: comparison(rival, low, estimate)})
    decision = judge(found, POLICY)
    assert decision.verdict == verdict
    assert said(decision) == ({} if verdict == "pass" else {f"beats {rival}": verdict})


def test_a_minimum_gain_moves_the_threshold() -> None:
    policy = GateConfig(minimum_gain=0.02)
    assert (
        judge(evidence(popularity=comparison("popularity", 0.021, 0.05)), policy).verdict != "pass"
    )
    better = {name: comparison(name, 0.021, 0.05) for name in ("popularity", "recent_popularity")}
    renamed = {
        name: found.model_copy(update={"rival": name.replace("_", "-")})
        for name, found in better.items()
    }
    assert judge(evidence(**renamed), policy).verdict == "pass"


@pytest.mark.parametrize(
    ("low", "estimate", "verdict"),
    [
        (-0.019, -0.01, "pass"),  # shares of the rival: within the margin of 2 %
        (-0.02, -0.01, "pass"),
        (-0.03, -0.01, "insufficient"),
        (-0.05, -0.03, "fail"),
    ],
)
@pytest.mark.parametrize("rival", ["item-knn", "champion"])
def test_the_candidate_may_not_be_worse(
    rival: str, low: float, estimate: float, verdict: str
) -> None:
    share = interval(estimate, low, 2 * estimate - low)
    found = evidence(
        reigning=champion() if rival == "champion" else None,
        **{rival: comparison(rival, low / 10, estimate / 10, relative=share)},
    )
    decision = judge(found, POLICY)
    assert decision.verdict == verdict
    name = "not worse than the champion" if rival == "champion" else "not worse than item-knn"
    assert said(decision) == ({} if verdict == "pass" else {name: verdict})


def test_where_the_rival_may_be_at_zero_any_loss_counts() -> None:
    undefined = interval(None)
    gain = comparison("item-knn", 0.001, 0.01, relative=undefined)
    assert judge(evidence(item_knn=gain), POLICY).verdict == "pass"
    loss = comparison("item-knn", -0.02, -0.01, relative=undefined)
    assert judge(evidence(item_knn=loss), POLICY).verdict == "fail"


def test_the_champion_needs_enough_users_of_the_last_window() -> None:
    few = comparison("champion", users=499)
    decision = judge(evidence(reigning=champion(), champion=few), POLICY)
    assert said(decision) == {"not worse than the champion": "insufficient"}
    assert decision.verdict == "insufficient"


def test_a_champion_that_nobody_can_be_asked_about_is_insufficient() -> None:
    decision = judge(evidence(reigning=champion(), champion=None), POLICY)
    assert said(decision) == {"not worse than the champion": "insufficient"}


def test_it_says_what_favours_the_champion() -> None:
    facts = champion(saw_the_test=True, missing_items=1234)
    rules = judge(evidence(reigning=facts), POLICY).rules
    reason = next(rule.reason for rule in rules if rule.rule == "not worse than the champion")
    assert "which favours it" in reason
    assert "1,234 items" in reason


@pytest.mark.parametrize("how", ["bytes", "lists"])
def test_the_champion_again_is_not_deployed_and_not_called_bad(how: str) -> None:
    same = comparison("champion", 0.0, 0.0)
    decision = judge(evidence(reigning=champion(identical=how), champion=same), POLICY)
    assert decision.verdict == "fail"
    assert decision.action == "keep champion"
    assert said(decision) == {"differs from the champion": "fail"}
    assert "m-00000000000c" in decision.headline


def test_a_champion_that_must_go_is_replaced_by_one_that_ranks_alike() -> None:
    same = comparison("champion", 0.0, 0.0)
    reigning = champion(identical="lists", to_replace=2)
    decision = judge(evidence(reigning=reigning, champion=same), POLICY)
    assert (decision.verdict, decision.action) == ("pass", "deploy")
    told = next(rule for rule in decision.rules if rule.rule == "not worse than the champion")
    assert "2 people who have asked to be forgotten" in told.reason


def test_the_very_bytes_that_must_go_are_not_deployed_and_it_is_urgent() -> None:
    same = comparison("champion", 0.0, 0.0)
    reigning = champion(identical="bytes", to_replace=1)
    decision = judge(evidence(reigning=reigning, champion=same), POLICY)
    assert (decision.verdict, decision.action) == ("fail", "keep champion")
    assert "It is urgent" in decision.headline
    worse = comparison("champion", -0.09, -0.08)
    decision = judge(evidence(reigning=champion(to_replace=1), champion=worse), POLICY)
    assert (decision.verdict, "It is urgent" in decision.headline) == ("fail", True)


def test_rules_of_comparison_say_what_is_adjusted() -> None:
    found = comparison("popularity").model_copy(
        update={
            "p": dict.fromkeys(NAMES, 0.003),
            "adjusted": dict.fromkeys(NAMES, 0.036),
        }
    )
    decision = judge(evidence(popularity=found, reigning=champion()), POLICY)
    notes = {rule.rule: rule.note for rule in decision.rules if rule.note}
    assert notes["beats popularity"].endswith("is 0.003, adjusted for 12 metrics (Holm) 0.036.")
    assert {"beats popularity", "not worse than item-knn", "not worse than the champion"} <= {
        rule for rule, note in notes.items() if "is not adjusted" in note
    }


def test_the_champion_again_is_rejected_if_it_fails_another_rule() -> None:
    found = evidence(
        reigning=champion(identical="bytes"),
        champion=comparison("champion", 0.0, 0.0),
        popularity=comparison("popularity", -0.03, -0.01),
    )
    assert judge(found, POLICY).action == "reject"


def test_scores_that_are_not_numbers_fail() -> None:
    decision = judge(evidence(nonfinite=3), POLICY)
    assert decision.verdict == "fail"
    assert said(decision) == {"scores are numbers": "fail"}
    assert "3 scores" in decision.headline


@pytest.mark.parametrize(("value", "verdict"), [(0.9, "pass"), (0.901, "fail")])
def test_an_implausible_score_is_taken_as_a_leak(value: float, verdict: str) -> None:
    decision = judge(evidence(value=value), POLICY)
    assert decision.verdict == verdict
    assert ("too good to be true" in decision.headline) == (verdict == "fail")


def test_a_sure_defect_is_a_fail_even_with_few_users() -> None:
    assert judge(evidence(users=74, nonfinite=1), POLICY).verdict == "fail"


def test_a_rival_that_the_policy_names_but_nobody_measured_fails() -> None:
    decision = judge(evidence(popularity=None), POLICY)
    assert said(decision) == {"beats popularity": "fail"}


def test_every_rule_of_a_comparison_carries_its_figures() -> None:
    rules = {rule.rule: rule for rule in judge(evidence(reigning=champion()), POLICY).rules}
    for name in ("beats popularity", "not worse than item-knn", "not worse than the champion"):
        rule = rules[name]
        assert rule.low < rule.value < rule.high
        assert rule.users == 1000
        assert rule.threshold is not None
        assert "1,000 users" in rule.reason


ENDS = st.floats(-0.2, 0.2)


@given(st.integers(1, 2000), st.lists(st.tuples(ENDS, ENDS), min_size=3, max_size=3), st.booleans())
def test_a_pass_means_that_every_rule_passed(users: int, ends, again: bool) -> None:
    names = ("popularity", "recent-popularity", "item-knn")
    found = {
        name: comparison(name, min(pair), max(pair)) for name, pair in zip(names, ends, strict=True)
    }
    facts = champion(identical="bytes" if again else None)
    decision = judge(evidence(users=users, reigning=facts, **found), POLICY)
    verdicts = {rule.verdict for rule in decision.rules}
    assert (decision.verdict == "pass") == (verdicts == {"pass"})
    assert (decision.action == "deploy") == (decision.verdict == "pass")
    if users < 500:
        assert decision.verdict != "pass"


def test_evidence_and_decision_survive_a_trip_to_disk(tmp_path) -> None:
    found = evidence(reigning=champion())
    found.write(tmp_path)
    assert Evidence.read(tmp_path) == found
    decision = judge(found, POLICY)
    decision.write(tmp_path)
    assert Decision.read(tmp_path) == decision


def test_missing_or_damaged_evidence_is_named(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        Evidence.read(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"format": 2}')
    with pytest.raises(ArtifactError, match="not an evaluation of format 1"):
        Evidence.read(tmp_path)
    with pytest.raises(ArtifactError, match="not a readable decision"):
        Decision.read(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k": [5, 20]}, "hold 10"),
        ({"k": [10, 10]}, "names one twice"),
        ({"rivals": ["popularity"]}, "recent-popularity"),
        ({"gate": {"must_beat": ["luck"]}}, "must_beat"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EvaluationConfig.model_validate(settings)
