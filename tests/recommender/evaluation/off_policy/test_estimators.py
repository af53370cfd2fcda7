"""Estimators against hand-computed values and a bandit whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from bandit import Bandit, bandit
from hypothesis import given
from hypothesis import strategies as st

from recommender.evaluation.off_policy.estimators import (
    clipped_ips,
    direct,
    doubly_robust,
    ips,
    on_policy,
    snips,
)

UNITS = np.array([0, 0, 1])
REWARDS = np.array([1.0, 0.0, 1.0])
WEIGHTS = np.array([2.0, 1.0, 0.5])


def test_by_hand():
    assert ips(UNITS, REWARDS, WEIGHTS).value == pytest.approx((2 + 0 + 0.5) / 3)
    assert clipped_ips(UNITS, REWARDS, WEIGHTS, 1.5).value == pytest.approx((1.5 + 0.5) / 3)
    assert snips(UNITS, REWARDS, WEIGHTS).value == pytest.approx(2.5 / 3.5)
    assert direct(UNITS, np.array([0.3, 0.6, 0.9])).value == pytest.approx(0.6)
    expected, shown = np.array([0.5, 0.5, 0.5]), np.array([0.4, 0.4, 0.4])
    by_hand = ((0.5 + 2 * 0.6) + (0.5 - 0.4) + (0.5 + 0.5 * 0.6)) / 3
    assert doubly_robust(UNITS, REWARDS, WEIGHTS, expected, shown).value == pytest.approx(by_hand)
    assert on_policy(UNITS, REWARDS).value == pytest.approx(2 / 3)


def test_sums_are_per_person():
    sums = snips(UNITS, REWARDS, WEIGHTS)
    assert sums.above.tolist() == [2.0, 0.5]
    assert sums.below.tolist() == [3.0, 0.5]


@given(st.floats(0.1, 10), st.integers(0, 1000))
def test_snips_ignores_the_scale_of_the_weights(scale, seed):
    weights = np.random.default_rng(seed).exponential(1, 3) + 1e-3
    assert snips(UNITS, REWARDS, weights).value == pytest.approx(
        snips(UNITS, REWARDS, weights * scale).value
    )


@given(st.integers(0, 1000))
def test_the_policy_that_logged_is_worth_what_it_earned(seed):
    rng = np.random.default_rng(seed)
    units, rewards = rng.integers(0, 5, 40), rng.random(40)
    units[0] = 4
    ones, model = np.ones(40), rng.random(40)
    truth = rewards.mean()
    assert ips(units, rewards, ones).value == pytest.approx(truth)
    assert snips(units, rewards, ones).value == pytest.approx(truth)
    assert doubly_robust(units, rewards, ones, model, model).value == pytest.approx(truth)


def _estimates(world: Bandit, seed: int, *, model_error: float, weight_error: float):
    units, kinds, items, clicks = world.log(400, 5, seed)
    weights = (world.target_CA / world.logging_CA)[kinds, items] * (1 + weight_error * (items % 2))
    q_CA = np.clip(world.click_CA + model_error, 0, 1)
    expected = (world.target_CA * q_CA).sum(axis=1)[kinds]
    shown = q_CA[kinds, items]
    return {
        "ips": ips(units, clicks, weights).value,
        "snips": snips(units, clicks, weights).value,
        "dm": direct(units, expected).value,
        "dr": doubly_robust(units, clicks, weights, expected, shown).value,
    }


def _means(**errors: float):
    world = bandit()
    runs = [_estimates(world, seed, **errors) for seed in range(200)]
    centred = {name: np.array([run[name] for run in runs]) - world.value for name in runs[0]}
    return centred, {name: 4 * gaps.std() / np.sqrt(len(gaps)) for name, gaps in centred.items()}


def test_with_right_propensities_ips_and_dr_are_unbiased_and_a_wrong_model_is_not():
    gaps, error = _means(model_error=0.1, weight_error=0.0)
    for name in ("ips", "snips", "dr"):
        assert abs(gaps[name].mean()) < error[name], name
    assert gaps["dm"].mean() == pytest.approx(0.1, abs=0.01)


def test_with_a_right_model_dr_forgives_wrong_propensities_and_ips_does_not():
    gaps, error = _means(model_error=0.0, weight_error=0.5)
    assert abs(gaps["dr"].mean()) < error["dr"]
    assert abs(gaps["ips"].mean()) > 2 * error["ips"]


def test_a_good_model_makes_dr_less_noisy_than_ips():
    gaps, _ = _means(model_error=0.0, weight_error=0.0)
    assert gaps["dr"].std() < 0.9 * gaps["ips"].std()
