"""What a candidate keeps of the champion's hit rate."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from serving.rollout.retention import Stratum, _restricted, difference, kept, score, users_needed

ONE = NormalDist().inv_cdf(0.95)


def test_against_equality_it_is_the_pooled_z_test():
    stratum = Stratum(stable=(30, 100), candidate=(20, 100))
    expected = (0.20 - 0.30) / math.sqrt(0.25 * 0.75 * (1 / 100 + 1 / 100))
    assert score([stratum], 1.0) == pytest.approx(expected)


@st.composite
def strata(draw):
    n_s, n_c = draw(st.integers(2, 200)), draw(st.integers(2, 200))
    return Stratum(
        (draw(st.integers(0, n_s)), n_s),
        (draw(st.integers(0, n_c)), n_c),
    )


@given(stratum=strata(), ratio=st.floats(0.05, 3.0))
def test_the_restricted_rate_is_the_likeliest(stratum, ratio):
    (x_s, n_s), (x_c, n_c) = stratum.stable, stratum.candidate

    def surprise(rate):
        pairs = ((x_s, n_s, rate), (x_c, n_c, ratio * rate))
        total = 0.0
        for hits, users, p in pairs:
            p = min(max(p, 1e-300), 1 - 1e-16)
            total -= hits * math.log(p) + (users - hits) * math.log1p(-p)
        return total

    top = min(1.0, 1 / ratio)
    best = minimize_scalar(surprise, bounds=(0, top), method="bounded", options={"xatol": 1e-12})
    assert surprise(_restricted(stratum, ratio)) <= best.fun + 1e-6


def test_the_difference_is_taken_within_steps():
    # Level and share changed together: pooled, the candidate looks better; it never was.
    steps = [Stratum((45, 90), (5, 10)), Stratum((1, 10), (9, 90))]
    assert difference(steps) == pytest.approx(0.0)
    assert score(steps, 1.0) == pytest.approx(0.0)
    assert difference([]) == 0


def test_nothing_seen_is_nothing_kept():
    assert kept([], 0.05) == 0
    assert kept([Stratum((0, 100), (0, 100))], 0.05) == 0
    assert kept([Stratum((10, 100), (0, 100))], 0.05) == 0
    assert kept([Stratum((0, 0), (10, 20))], 0.05) == 0
    assert score([], 0.5) == 0
    assert score([Stratum((0, 50), (0, 50))], 0.5) == 0


def test_what_is_kept_is_where_the_test_turns():
    steps = [Stratum((60, 200), (55, 190)), Stratum((20, 60), (25, 70))]
    share = kept(steps, 0.05)
    assert 0.5 < share < 1
    assert score(steps, share) == pytest.approx(ONE, abs=1e-6)


def test_more_users_show_that_more_is_kept():
    shares = [kept([Stratum((n // 5, n), (n // 5, n))], 0.05) for n in (50, 200, 800, 3200)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.85


def passes(rng, stable, candidate, users, reps=2000):
    """Return how often a candidate is shown to keep half, over many rollouts of two steps."""
    passed = 0
    for _ in range(reps):
        steps = []
        for n_s, n_c in ((users, users // 3), (users, users)):
            hits = rng.binomial(n_s, stable), rng.binomial(n_c, candidate)
            steps.append(Stratum((int(hits[0]), n_s), (int(hits[1]), n_c)))
        passed += score(steps, 0.5) >= ONE
    return passed / reps


@pytest.mark.parametrize(("rate", "users"), [(0.1, 150), (0.3, 40), (0.05, 300)])
def test_a_candidate_that_keeps_just_half_seldom_passes(rate, users):
    share = passes(np.random.default_rng(0), rate, rate / 2, users)
    # 5 %, and three standard errors of the simulation.
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_an_equal_candidate_mostly_passes_with_the_users_that_are_said_to_be_needed():
    needed = users_needed(0.2, 0.5, 0.05)
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(1000):
        hits = rng.binomial(needed, 0.2, 2)
        stratum = Stratum((int(hits[0]), needed), (int(hits[1]), needed))
        passed += score([stratum], 0.5) >= ONE
    assert 0.74 <= passed / 1000 <= 0.92


def test_where_no_number_of_users_would_do_none_is_named():
    assert users_needed(0.0, 0.5, 0.05) == 0
    assert users_needed(0.2, 1.0, 0.05) == 0
