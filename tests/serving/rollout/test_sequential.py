"""Evidence that holds at every look: by hand, by enumeration and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from serving.rollout.sequential import (
    Block,
    blocks,
    closest,
    difference_interval,
    quantile_bounds,
    rate_above,
    rate_interval,
    rate_other,
    worse_by,
)

RATES = st.floats(0.01, 0.99)


def test_one_failure_against_a_limit_of_a_half_by_hand():
    # Jeffreys' density 1 / (π √(p(1-p))), doubled on (½, 1]: the mean of p is ½ + 1/π.
    assert math.exp(rate_above(1, 1, 0.5)) == pytest.approx((0.5 + 1 / math.pi) / 0.5)
    assert math.exp(rate_above(0, 1, 0.5)) == pytest.approx((0.5 - 1 / math.pi) / 0.5)


def test_a_single_failure_is_proof_where_none_is_allowed_and_none_where_all_may_fail():
    assert rate_above(1, 100, 0.0) == math.inf
    assert rate_above(0, 100, 0.0) == 0
    assert rate_above(100, 100, 1.0) == 0


@given(limit=RATES, trials=st.integers(1, 40), share=st.floats(0.01, 1.0))
def test_evidence_above_a_limit_is_not_expected_to_grow_at_or_below_it(limit, trials, share):
    counts = np.arange(trials + 1)
    values = np.exp(rate_above(counts, np.full(trials + 1, trials), limit))
    at = float(binom.pmf(counts, trials, limit) @ values)
    below = float(binom.pmf(counts, trials, limit * share) @ values)
    assert at == pytest.approx(1, rel=1e-6)
    assert below <= 1 + 1e-6


@given(rate=RATES, trials=st.integers(1, 40))
def test_evidence_for_another_rate_is_not_expected_to_grow_at_that_rate(rate, trials):
    counts = np.arange(trials + 1)
    values = np.exp(rate_other(counts, np.full(trials + 1, trials), rate))
    assert float(binom.pmf(counts, trials, rate) @ values) == pytest.approx(1, rel=1e-6)


def test_a_user_in_an_arm_that_gets_nobody_is_proof():
    assert rate_other(9, 10, 1.0) == math.inf
    assert rate_other(0, 0, 0.3) == 0


def test_an_interval_without_data_says_nothing_and_one_with_data_holds_the_rate():
    low, high = rate_interval([0, 0, 30, 50], [0, 50, 50, 50], 0.05)
    assert (low[0], high[0]) == (0, 1)
    assert low[1] == 0
    assert 0.05 < high[1] < 0.2
    assert low[2] < 0.6 < high[2]
    assert high[3] == 1


def test_an_interval_ends_where_the_evidence_against_its_ends_does():
    low, high = rate_interval(7, 40, 0.05)
    for end in (low, high):
        assert rate_other(7, 40, float(end)) == pytest.approx(math.log(20), abs=1e-6)


def test_an_interval_watched_at_every_user_covers_the_rate_throughout():
    rng = np.random.default_rng(0)
    hits = np.cumsum(rng.random((400, 400)) < 0.2, axis=1)
    low, high = rate_interval(hits, np.broadcast_to(np.arange(1, 401), hits.shape), 0.05)
    missed = ((low > 0.2) | (high < 0.2)).any(axis=1)
    assert missed.mean() <= 0.05


def test_quantile_bounds_need_data_and_then_hold_the_quantile():
    assert quantile_bounds(np.array([]), 0.95, 0.01) == (0.0, math.inf)
    # Ten values: that only five of them lie below the 95th percentile is hard to believe.
    assert quantile_bounds(np.arange(10.0), 0.95, 0.01) == (5.0, math.inf)
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        values = rng.exponential(size=400)
        low, high = quantile_bounds(values, 0.95, 0.02)
        missed += not low <= -math.log(0.05) <= high
    assert missed / 300 <= 0.04
    assert 0 < low < high < math.inf


def test_quantile_bounds_hold_where_many_values_are_equal():
    assert quantile_bounds(np.full(500, 7.0), 0.95, 0.01) == (7.0, 7.0)


def test_blocks_end_as_soon_as_both_arms_are_in_and_never_by_the_hits():
    arms = [False, False, True, True, False, False]
    for hits in ([False] * 6, [True] * 6):
        found = blocks(arms, hits)
        assert [(block.stable[1], block.candidate[1]) for block in found] == [(2, 1), (1, 1)]
    assert blocks(arms, [True, False, True, False, False, True])[0] == Block((1, 2), (1, 1))


@settings(max_examples=300)
@given(
    rates=st.tuples(RATES, RATES),
    users=st.tuples(st.integers(1, 30), st.integers(1, 5)),
    difference=st.floats(-0.9, 0.9),
    truth=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_bet_against_the_nearest_null_never_pays_under_the_null(rates, users, difference, truth):
    """The factor's expectation is at most the users-th power of what is shown to be at most 1."""
    if truth[1] - truth[0] < difference or rates[1] - rates[0] > difference:
        return
    one = np.ones(1)
    null = float(closest(rates[0] * one, rates[1] * one, users, np.array([difference]))[0])
    means = []
    for rate, other, true in zip(rates, (null, null + difference), truth, strict=True):
        if not 1e-9 < other < 1 - 1e-9:
            return
        means.append(true * rate / other + (1 - true) * (1 - rate) / (1 - other))
    assert (users[0] * means[0] + users[1] * means[1]) / sum(users) <= 1 + 1e-6


def test_two_blocks_by_hand():
    stream = [Block((1, 1), (0, 1)), Block((1, 1), (0, 1))]
    # After the first block: 1.18 / 1.36 against 0.18 / 1.36, and ½ for both under the null.
    assert worse_by(stream, 0.0)[0] == pytest.approx(2 * math.log(1.18 / 1.36 / 0.5))
    assert worse_by(stream[:1], 0.0)[0] == 0
    assert worse_by([], [0.0, 0.1]).tolist() == [0, 0]


def simulated(rng, stable, candidate, users=1500, share=0.5):
    arms = rng.random(users) < share
    hits = rng.random(users) < np.where(arms, candidate, stable)
    return blocks(arms.tolist(), hits.tolist())


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_equal_arms_watched_at_every_user_raise_few_false_alarms(share):
    rng = np.random.default_rng(2)
    alarms = [
        worse_by(simulated(rng, 0.2, 0.2, share=share), 0.0)[0] >= math.log(20) for _ in range(400)
    ]
    assert np.mean(alarms) <= 0.05


def test_arms_that_are_equal_at_any_time_raise_few_false_alarms_while_everything_drifts():
    """Level and share change together, which fools whoever pools the plain rates."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(300):
        stream = simulated(rng, 0.6, 0.6, 300, 0.1) + simulated(rng, 0.1, 0.1, 300, 0.6)
        alarms += worse_by(stream, 0.0)[0] >= math.log(20)
    assert alarms / 300 <= 0.05


def test_a_halved_hit_rate_is_caught():
    rng = np.random.default_rng(4)
    caught = [worse_by(simulated(rng, 0.2, 0.1), 0.0)[0] >= math.log(20) for _ in range(100)]
    assert np.mean(caught) >= 0.9


def test_a_margin_is_granted():
    rng = np.random.default_rng(5)
    stream = simulated(rng, 0.5, 0.3, 3000)
    strict, granted = worse_by(stream, [0.0, -0.25])
    assert strict > math.log(20)
    assert granted < math.log(20)


def test_the_interval_of_a_difference_holds_it():
    rng = np.random.default_rng(6)
    missed = 0
    for _ in range(60):
        low, high = difference_interval(simulated(rng, 0.4, 0.3, 800), 0.025)
        missed += not low <= -0.1 <= high
    assert missed <= 3
    assert -0.3 < low < high < 0.1
    assert difference_interval([], 0.025) == (-1.0, 1.0)
