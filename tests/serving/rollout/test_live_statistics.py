"""Tests on live traffic with users who come back: by hand, and by simulation at 60 looks.

Each simulated rollout is looked at once a minute for an hour. Users stay with their arm and differ
from one another in how often they ask and how readily they click, as people do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.clustered import Cells, compare, evidence, interval, reaches, variance_of_rate

LOOKS = 60
# A quarter of the chance of a false alarm that is granted altogether: there are four guardrails.
PROOF = math.log(4 / 0.05)


@dataclass(frozen=True)
class People:
    """A population: how many, how often each asks a minute, how alike one's requests are."""

    users: int
    a_minute: float
    alike: float
    share: float = 0.1


def simulate(rng, people, stable, candidate, *, worse=-1.0, by_user=True):
    """Return the look at which the candidate was called bad, None if it never was.

    `worse` is the direction of harm: -1 for hits, 1 for errors.
    """
    ours = rng.random(people.users) < people.share
    spread = 1 / people.alike - 1
    own = rng.beta(stable * spread, (1 - stable) * spread, people.users)
    rate = np.clip(np.where(ours, own * candidate / stable, own), 0, 1)
    often = people.a_minute * rng.gamma(1.0, 1.0, people.users)
    counted, events = np.zeros(people.users), np.zeros(people.users)
    for look in range(LOOKS):
        new = rng.poisson(often)
        counted += new
        events += rng.binomial(new, rate)
        seen = np.flatnonzero(counted)
        zero = np.zeros(len(seen), np.int64)
        estimate = compare(Cells(seen, zero, ours[seen], counted[seen], events[seen]))
        variance = estimate.variance
        if not by_user:
            common = events.sum() / counted.sum()
            sizes = 1 / counted[ours].sum() + 1 / counted[~ours].sum()
            variance = common * (1 - common) * sizes
        if estimate.expected < 5:
            continue
        if evidence(worse * estimate.difference, variance) >= PROOF:
            return look
    return None


def called_bad(people, stable, candidate, rollouts, seed, **more):
    rng = np.random.default_rng(seed)
    found = [simulate(rng, people, stable, candidate, **more) for _ in range(rollouts)]
    looks = [look for look in found if look is not None]
    return len(looks) / rollouts, float(np.median(looks)) if looks else None


SHOP = People(users=1500, a_minute=0.2, alike=0.1)
CITY = People(users=30_000, a_minute=0.2, alike=0.02)


def test_equal_arms_looked_at_sixty_times_raise_few_false_alarms():
    for worse, rate in ((-1.0, 0.05), (1.0, 0.01)):
        alarms, _ = called_bad(SHOP, rate, rate, 60, 0, worse=worse)
        assert alarms <= 0.05


def test_counting_requests_instead_of_users_would_call_equal_candidates_bad():
    """What the delta method is for: the same data, judged as if requests were independent."""
    people = People(users=400, a_minute=1.0, alike=0.25, share=0.5)
    naive, _ = called_bad(people, 0.2, 0.2, 30, 1, by_user=False)
    right, _ = called_bad(people, 0.2, 0.2, 30, 1)
    assert naive > 0.1
    assert right <= 0.05


def test_a_much_worse_candidate_is_called_bad_within_the_hour():
    found, look = called_bad(SHOP, 0.10, 0.05, 40, 2)
    assert found >= 0.9
    assert look < 30


# Drawn for these two tests and used for nothing before: neither the mixture's scale nor the
# thresholds below were chosen with it in view.
FRESH = 20_261_121


@pytest.mark.slow
@pytest.mark.parametrize(
    ("worse", "rate", "people"),
    [(-1.0, 0.05, SHOP), (1.0, 0.005, SHOP), (1.0, 0.05, SHOP), (-1.0, 0.05, CITY)],
)
def test_the_false_alarm_rate_at_sixty_looks_is_below_five_percent(worse, rate, people):
    """At most 5 % of equal candidates called bad, as the issue asks; stated before the run."""
    rollouts = 1000 if people is SHOP else 40
    alarms, _ = called_bad(people, rate, rate, rollouts, FRESH, worse=worse)
    print(f"A/A at {rate:.1%}, {people}: {alarms:.2%} of {rollouts} called bad")
    assert alarms <= 0.05


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("worse", "stable", "candidate", "power"),
    [
        (1.0, 0.005, 0.010, 0.95),
        (-1.0, 0.05, 0.040, 0.95),
        (-1.0, 0.05, 0.045, 0.50),
        (1.0, 0.005, 0.007, 0.40),
    ],
)
def test_the_power_at_a_hundred_requests_a_second(worse, stable, candidate, power):
    """100 requests a second and a canary of 10 %, as the decision record states.

    The powers asked for were written down before this seed was run for the first time: 95 % for an
    error rate that doubles and for a fifth of the hits lost, 50 % for a tenth of the hits lost,
    40 % for two fifths more errors; each of 200 rollouts, so give or take 3.5 points.
    """
    rollouts = 200
    found, look = called_bad(CITY, stable, candidate, rollouts, FRESH, worse=worse)
    told = f"{found:.1%} of {rollouts} called bad, median minute {look}"
    print(f"{stable:.2%} → {candidate:.2%}: {told}")
    assert found >= power


def cells(rows):
    user, step, ours, counted, events = (np.array(column) for column in zip(*rows, strict=True))
    return Cells(user, step, ours.astype(bool), counted.astype(float), events.astype(float))


def test_one_request_a_user_is_the_plain_comparison_of_two_rates():
    n, hits = (400, 100), (80, 30)
    rows = [(i, 0, 0, 1, i < hits[0]) for i in range(n[0])]
    rows += [(1000 + i, 0, 1, 1, i < hits[1]) for i in range(n[1])]
    found = compare(cells(rows))
    rates = hits[0] / n[0], hits[1] / n[1]
    assert found.difference == pytest.approx(rates[1] - rates[0])
    plain = sum(p * (1 - p) / m for p, m in zip(rates, n, strict=True))
    assert found.variance == pytest.approx(plain, rel=0.05)
    assert (found.stable, found.candidate) == pytest.approx(rates)


def test_a_user_who_asks_ten_times_is_one_user():
    once = [(i, 0, i % 2, 1, i % 4 < 2) for i in range(400)]
    tenfold = [(user, step, arm, 10, 10 * hit) for user, step, arm, _, hit in once]
    assert compare(cells(tenfold)).variance == pytest.approx(compare(cells(once)).variance)


def test_a_user_whom_a_larger_share_has_moved_counts_against_himself():
    """The same users in both arms at the same level: what they have in common cancels out."""
    rng = np.random.default_rng(0)
    level = rng.beta(1, 3, 300)
    both = [(i, 0, arm, 20, rng.binomial(20, level[i])) for i in range(300) for arm in (0, 1)]
    apart = [(user + 1000 * arm, step, arm, n, x) for user, step, arm, n, x in both]
    assert compare(cells(both)).variance < 0.3 * compare(cells(apart)).variance


def test_steps_of_different_levels_and_shares_are_not_mixed_up():
    """At 5 % the shop is at its best, at 50 % at its worst: pooled, the candidate looks bad."""
    rows = [(i, 0, i < 50, 1, i % 10 < 4) for i in range(1000)]
    rows += [(2000 + i, 1, i < 500, 1, i % 10 < 1) for i in range(1000)]
    found = compare(cells(rows))
    assert found.difference == pytest.approx(0, abs=1e-12)
    pooled = (20 + 50) / 550 - (380 + 50) / 1450
    assert pooled < -0.15


def test_where_nothing_can_be_compared_nothing_is_said():
    nothing = compare(cells([(0, 0, 1, 5, 2)]))
    assert nothing.variance == 0
    assert evidence(nothing.difference, nothing.variance) == 0
    assert interval(nothing, 0.05) == (-1.0, 1.0)
    assert compare(Cells.of(*(np.zeros(0, kind) for kind in (int, int, bool, bool)))).expected == 0


def test_an_arm_without_an_event_is_not_taken_for_certain():
    rows = [(i, 0, 0, 1, i < 5) for i in range(900)] + [(1000 + i, 0, 1, 1, 0) for i in range(100)]
    found = compare(cells(rows))
    assert found.variance > 0.9 * 0.005 * 0.995 / 100


@given(
    z=st.floats(-0.3, 0.3), v=st.floats(1e-8, 1e-2), more=st.floats(0, 0.1), null=st.floats(0, 0.1)
)
def test_evidence_grows_with_the_difference_and_falls_with_what_is_granted(z, v, more, null):
    assert evidence(z + more, v) >= evidence(z, v) - 1e-9
    assert evidence(z, v, null) <= evidence(z, v) + 1e-9


@given(v=st.floats(1e-7, 1e-2))
def test_evidence_is_not_expected_to_grow_under_the_null(v):
    """The mean of the e-value over a normal estimate at the null's edge is 1, by quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(201)
    values = np.exp(evidence(np.sqrt(v) * points, np.full(len(points), v)))
    weights = weights / weights.sum()
    # Beyond seven standard errors the quadrature meets the tail that carries the rest.
    kept = np.abs(points) < 7
    assert float(weights[kept] @ values[kept]) <= 1 + 1e-6


def test_an_interval_ends_where_the_evidence_against_its_ends_does():
    rows = [(i, 0, i % 2, 3, i % 4) for i in range(400) if i % 4 < 4]
    rows = [(u, s, a, n, min(x, n)) for u, s, a, n, x in rows]
    found = compare(cells(rows))
    low, high = interval(found, 0.01)
    assert evidence(found.difference, found.variance, low) == pytest.approx(math.log(100), abs=0.01)
    assert low < found.difference < high


def test_the_band_of_a_single_arm_covers_its_rate_at_every_look():
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(20):
        level = rng.beta(2, 8, 200)
        user, hit = np.zeros(0, np.int64), np.zeros(0)
        for _ in range(12):
            new = rng.integers(0, 200, 60)
            user = np.concatenate([user, new])
            hit = np.concatenate([hit, rng.random(60) < level[new]])
            reach = reaches(variance_of_rate(Cells.alone(user, hit)), 0.025)
            if abs(hit.mean() - 0.2) > reach:
                missed += 1
                break
    assert missed <= 1
