"""The paired bootstrap: against scipy, by its coverage, by its power."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats

from recommender.evaluation.statistics import PairedBootstrap, resampled_totals


def bootstrap(values, *, seed: int = 1, resamples: int = 2000, level: float = 0.95):
    return PairedBootstrap(
        np.asarray(values, float), resamples=resamples, confidence=level, seed=seed
    )


def skewed(random: np.random.Generator, users: int) -> np.ndarray:
    """Draw metrics as they are: many zeros, two systems that agree on who is easy; (U, 2, 1)."""
    easy = random.random(users) < 0.3
    return np.stack([easy * random.random(users), easy * random.random(users)], axis=1)[:, :, None]


def test_estimates_are_the_plain_means() -> None:
    values = skewed(np.random.default_rng(0), 300)
    found = bootstrap(values)
    ours, theirs = values[:, 0, 0].mean(), values[:, 1, 0].mean()
    assert found.mean(0).estimate == pytest.approx([ours])
    assert found.difference(0, 1).estimate == pytest.approx([ours - theirs])
    assert found.relative(0, 1).estimate == pytest.approx([(ours - theirs) / theirs])


def test_intervals_are_those_of_scipy() -> None:
    values = skewed(np.random.default_rng(3), 400)
    found = bootstrap(values, resamples=8000)
    data = values[:, 0, 0], values[:, 1, 0]
    statistics = {
        "difference": lambda a, b, axis: a.mean(axis) - b.mean(axis),
        "relative": lambda a, b, axis: a.mean(axis) / b.mean(axis) - 1,
    }
    for name, statistic in statistics.items():
        theirs = scipy.stats.bootstrap(
            data, statistic, paired=True, vectorized=True, n_resamples=8000, method="BCa", rng=5
        ).confidence_interval
        ours = getattr(found, name)(0, 1)
        width = theirs.high - theirs.low
        assert abs(ours.low[0] - theirs.low) < 0.04 * width, name
        assert abs(ours.high[0] - theirs.high) < 0.04 * width, name


def test_skewed_metrics_of_few_users_are_corrected_as_scipy_does() -> None:
    values = np.random.default_rng(6).lognormal(0, 1.2, (30, 1, 1))
    ours = bootstrap(values, resamples=60_000).mean(0)
    theirs, plain = (
        scipy.stats.bootstrap(
            (values[:, 0, 0],), np.mean, n_resamples=60_000, method=method, rng=5, batch=5000
        ).confidence_interval
        for method in ("BCa", "percentile")
    )
    width = theirs.high - theirs.low
    assert abs(ours.low[0] - theirs.low) < 0.015 * width
    assert abs(ours.high[0] - theirs.high) < 0.03 * width  # the far tail is noisier
    assert theirs.high - plain.high > 0.05 * width  # so the correction matters here


def test_the_intervals_keep_their_level() -> None:
    random = np.random.default_rng(11)
    trials, inside, sides = 400, 0, [0, 0]
    for trial in range(trials):
        values = skewed(random, 150)
        values[:, 0, 0] *= 1.2  # the truth: 0.3 * 0.5 * 1.2 - 0.3 * 0.5 = 0.03
        found = bootstrap(values, seed=trial, resamples=400, level=0.9).difference(0, 1)
        inside += found.low[0] <= 0.03 <= found.high[0]
        sides[0] += found.low[0] > 0.03
        sides[1] += found.high[0] < 0.03
    # 90 % of 400 is 360 ± 6 (one standard deviation)
    assert 340 <= inside <= 380
    assert max(sides) < 36


def test_pairing_makes_the_interval_of_a_difference_narrower() -> None:
    random = np.random.default_rng(2)
    easy = random.random(500)
    both = np.stack([easy + 0.01, easy + 0.02 * random.random(500)], axis=1)[:, :, None]
    apart = both.copy()
    apart[:, 1] = apart[random.permutation(500), 1]
    paired, unpaired = bootstrap(both).difference(0, 1), bootstrap(apart).difference(0, 1)
    assert paired.high[0] - paired.low[0] < 0.1 * (unpaired.high[0] - unpaired.low[0])


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = skewed(np.random.default_rng(4), 200)
    one, two, other = (bootstrap(values, seed=seed).difference(0, 1) for seed in (1, 1, 2))
    assert (one.low, one.high) == (two.low, two.high)
    assert one.low != other.low


def test_the_order_of_users_does_not_matter_to_estimate_and_detectable_effect() -> None:
    values = skewed(np.random.default_rng(4), 200)
    mixed = values[np.random.default_rng(0).permutation(200)]
    one, two = bootstrap(values), bootstrap(mixed)
    assert one.difference(0, 1).estimate == pytest.approx(two.difference(0, 1).estimate)
    assert one.detectable(0, 1) == pytest.approx(two.detectable(0, 1))


def test_two_equal_systems_differ_by_exactly_nothing() -> None:
    values = skewed(np.random.default_rng(4), 200)
    values[:, 1] = values[:, 0]
    found = bootstrap(values).difference(0, 1)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_a_share_of_a_rival_that_may_be_at_zero_is_not_defined() -> None:
    values = np.zeros((50, 2, 1))
    values[:, 0] = 0.5
    values[0, 1] = 1.0  # many resamples leave out the only hit
    found = bootstrap(values).relative(0, 1)
    assert np.isfinite(found.estimate).all()
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_one_user_has_no_detectable_effect_and_an_interval_without_width() -> None:
    found = bootstrap([[[0.5], [0.25]]])
    assert np.isnan(found.detectable(0, 1)).all()
    difference = found.difference(0, 1)
    assert (difference.low, difference.high) == (0.25, 0.25)


@pytest.mark.parametrize("values", [np.empty((0, 2, 1)), np.full((3, 2, 1), np.nan)])
def test_nothing_and_nan_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap(values)


def test_the_detectable_effect_is_found_four_times_out_of_five() -> None:
    random = np.random.default_rng(8)
    users, spread = 400, 0.3
    effect = (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) * spread / np.sqrt(users)
    said, found = [], 0
    for trial in range(300):
        base = random.random(users)
        ours = base + effect + spread * random.standard_normal(users)
        test = bootstrap(np.stack([ours, base], axis=1)[:, :, None], seed=trial, resamples=300)
        said.append(test.detectable(0, 1)[0])
        found += test.difference(0, 1).low[0] > 0
    assert np.mean(said) == pytest.approx(effect, rel=0.02)
    assert 0.73 <= found / 300 <= 0.87


def test_many_users_are_drawn_another_way_with_the_same_result() -> None:
    values = np.random.default_rng(3).exponential(1, (25_000, 1, 1))
    found = PairedBootstrap(values, resamples=1000, confidence=0.95, seed=5).mean(0)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.high[0] - found.estimate[0] == pytest.approx(half, rel=0.12)
    assert found.estimate[0] - found.low[0] == pytest.approx(half, rel=0.12)
    again = PairedBootstrap(values, resamples=1000, confidence=0.95, seed=5).mean(0)
    assert again.low[0] == found.low[0]


def test_draws_of_many_users_have_the_moments_of_a_bootstrap() -> None:
    values = np.random.default_rng(4).standard_normal((21_000, 2))
    totals = resampled_totals(values, 600, seed=1)
    assert totals.std(axis=0) == pytest.approx(values.std(axis=0) * math.sqrt(21_000), rel=0.12)
    assert resampled_totals(np.ones((21_000, 1)), 50, seed=1) == pytest.approx(21_000)
