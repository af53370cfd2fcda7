"""Intervals that hold what they promise, and logs that can't tell."""

from __future__ import annotations

import numpy as np
import pytest
from bandit import bandit

from recommender.config.off_policy import OffPolicyConfig
from recommender.errors import EvaluationError
from recommender.evaluation.off_policy.assess import assess
from recommender.evaluation.off_policy.impressions import impressions
from recommender.evaluation.off_policy.reward_model import cross_fitted, smoothed_means

CONFIG = OffPolicyConfig()


def _assess(world, people, each, seed, **more):
    units, kinds, items, clicks = world.log(people, each, seed)
    log = impressions(units, clicks, world.logging_CA[kinds, items])
    return assess(log, world.target_CA[kinds, items], CONFIG, **more)


@pytest.mark.parametrize("name", ["ips", "snips"])
def test_intervals_cover_the_truth_as_often_as_they_say(name):
    world = bandit()
    gain = world.value - world.logged_value
    found = [_assess(world, 600, 4, seed, resamples=400) for seed in range(150)]
    value = [each.values[name].low <= world.value <= each.values[name].high for each in found]
    difference = [
        each.differences[name].low <= gain <= each.differences[name].high for each in found
    ]
    # 95 % of 150 is 142.5 ± 2.7; five standard deviations below is still no accident.
    assert sum(value) >= 129
    assert sum(difference) >= 129
    assert all(each.sufficient for each in found)


def test_difference_of_the_logging_policy_from_itself_is_zero():
    world = bandit()
    units, kinds, items, clicks = world.log(600, 2, 0)
    propensity = world.logging_CA[kinds, items]
    found = assess(impressions(units, clicks, propensity), propensity, CONFIG)
    assert found.differences["ips"].low == found.differences["ips"].high == 0.0
    assert found.overlap.effective == pytest.approx(1200)
    assert found.overlap.off_balance == 0.0


def test_few_people_are_insufficient():
    found = _assess(bandit(), 100, 30, 0)
    assert not found.sufficient
    assert found.shortcomings[0] == "100 people; 500 are asked for"


def test_a_log_that_hardly_overlaps_is_insufficient():
    found = _assess(bandit(items=40, sharpness=3.0), 600, 1, 0)
    assert any("effective sample" in each for each in found.shortcomings)


def test_wrong_propensities_are_noticed():
    world = bandit()
    units, kinds, items, clicks = world.log(600, 5, 0)
    log = impressions(units, clicks, 0.8 * world.logging_CA[kinds, items])
    found = assess(log, world.target_CA[kinds, items], CONFIG)
    assert any("average to" in each for each in found.shortcomings)


def test_what_the_policy_does_and_the_log_never_did_is_insufficient():
    world = bandit()
    found = _assess(world, 600, 5, 0, uncovered=0.1)
    assert found.shortcomings == ("10.0% of the policy's choices were never logged",)


def test_rows_without_a_usable_propensity_are_counted_by_reason_and_not_lost_silently():
    log = impressions(
        ["a", "a", "b", "c", "d", "e"],
        [1, 0, 1, 0, np.nan, 1],
        [0.5, np.nan, 0.0, 1.5, np.nan, 0.25],
    )
    assert log.set_aside == {
        "propensity missing": 2,
        "propensity 0": 1,
        "propensity outside [0, 1]": 1,
    }
    assert log.rows.tolist() == [0, 5]
    assert log.unit_count == 2
    found = assess(log, np.array([0.5, 0.5]), CONFIG, resamples=100)
    assert any("66.7% of the log can't be weighed" in each for each in found.shortcomings)


def test_a_log_without_any_propensity_is_an_error_that_says_what_to_log():
    with pytest.raises(EvaluationError, match="propensity missing: 2") as raised:
        impressions(["a", "b"], [0, 1], [np.nan, np.nan])
    assert "log the propensity" in str(raised.value.hint)


def test_probabilities_of_another_log_are_refused():
    log = impressions(["a", "b"], [0, 1], [0.5, 0.5])
    with pytest.raises(EvaluationError, match="1 probabilities of the policy for 2 impressions"):
        assess(log, np.array([0.5]), CONFIG)


def test_smoothed_means_by_hand():
    q = smoothed_means(
        np.array([0, 0, 1]), np.array([0, 0, 0]), np.array([1.0, 0.0, 1.0]), (2, 2), 2.0
    )
    place = (2 + 2 / 3 * 2) / (3 + 2)
    assert q[0] == pytest.approx([(1 + 2 * place) / 4, (1 + 2 * place) / 3])
    assert q[1] == pytest.approx([2 / 3, 2 / 3])


def test_the_model_never_sees_the_reward_that_it_predicts():
    rng = np.random.default_rng(0)
    units, items = np.arange(200), rng.integers(0, 3, 200)
    places, target = np.zeros(200, np.int64), np.full((1, 3), 1 / 3)
    rewards = rng.random(200)
    before = cross_fitted(units, items, places, rewards, target)
    changed = rewards.copy()
    changed[17] = 1000.0
    after = cross_fitted(units, items, places, changed, target)
    same_group = units % 5 == 17 % 5
    assert (before.shown[same_group] == after.shown[same_group]).all()
    assert (before.shown[~same_group] != after.shown[~same_group]).all()
