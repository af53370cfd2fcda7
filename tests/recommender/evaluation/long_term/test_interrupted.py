"""Interrupted time series on series whose jump and bend are known."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from statsmodels.api import OLS

from recommender.evaluation.long_term.interrupted import interrupted
from recommender.evaluation.long_term.policies import Sampled, TopicTaste
from recommender.evaluation.long_term.simulator import World


def _series(seed: int, level: float, slope: float, days: int = 120, change: int = 60):
    rng = np.random.default_rng(seed)
    noise = np.zeros(days)
    for t in range(1, days):
        noise[t] = 0.4 * noise[t - 1] + rng.normal(0, 1)
    t = np.arange(days)
    after = t >= change
    return (
        50
        + 0.1 * t
        + 3 * np.sin(2 * np.pi * t / 7)
        + level * after
        + slope * (t - change) * after
        + noise
    )


def test_a_jump_and_a_bend_without_noise_are_found_exactly() -> None:
    t = np.arange(80.0)
    after = t >= 40
    found = interrupted(10 + 0.5 * t + (t % 7 == 2) + 4 * after - 0.2 * (t - 40) * after, 40)
    assert found.level.estimate == pytest.approx(4)
    assert found.slope.estimate == pytest.approx(-0.2)
    assert found.without[-1] == pytest.approx(10 + 0.5 * 79 + (79 % 7 == 2))


def test_intervals_cover_the_truth_though_days_resemble_each_other() -> None:
    found = [interrupted(_series(seed, 5.0, 0.1), 60) for seed in range(100)]
    assert sum(each.level.low <= 5 <= each.level.high for each in found) >= 85
    assert sum(each.slope.low <= 0.1 <= each.slope.high for each in found) >= 85


def test_errors_are_those_of_statsmodels() -> None:
    y = _series(3, 2.0, 0.0)
    t = np.arange(120.0)
    after = (t >= 60).astype(float)
    x = np.stack([np.ones(120), t, after, after * (t - 60)], axis=1)
    outside = OLS(y, x).fit(
        cov_type="HAC", cov_kwds={"maxlags": 4, "use_correction": True}, use_t=False
    )
    found = interrupted(y, 60, weekdays=False)
    assert [found.level.low, found.level.high] == pytest.approx(outside.conf_int()[2])


def test_nothing_happened_is_not_called_an_effect_too_often() -> None:
    found = [interrupted(_series(seed, 0.0, 0.0), 60) for seed in range(200)]
    false_alarms = sum(not each.level.low <= 0 <= each.level.high for each in found)
    assert false_alarms <= 30  # 5 % wanted; autocorrelation leaves some more


def test_few_days_are_said_to_be_few_and_too_few_are_refused() -> None:
    assert not interrupted(_series(0, 1, 0, days=40, change=30), 30).sufficient
    assert interrupted(_series(0, 1, 0), 60).sufficient
    with pytest.raises(ValueError, match="2 days before"):
        interrupted(np.zeros(30), 2)


def test_in_a_world_that_was_trending_anyway_it_beats_before_and_after() -> None:
    """Satisfaction builds up for weeks by itself; a plain before-after takes that for effect."""
    start = World.populated(3000, 150, 8, 0)
    plain = Sampled(TopicTaste(start.topics, start.quality, 0.0), 5, 0.2)
    varied = Sampled(TopicTaste(start.topics, start.quality, 0.9), 5, 0.2)
    change, days = 30, 60
    start.run([plain], 30, seed=1)
    same, switched = copy.deepcopy(start), copy.deepcopy(start)
    truth_world = same.run([plain], days, seed=2)
    assigned = np.zeros((days, 3000), np.int64)
    assigned[change:] = 1
    journal = switched.run([plain, varied], days, seed=2, assigned=assigned)

    def mood(j):
        return np.where(j.alive, j.satisfaction, 0).sum(axis=1) / j.alive.sum(axis=1)

    truth = (mood(journal) - mood(truth_world))[change:].mean()
    daily = mood(journal)
    found = interrupted(daily, change, weekdays=False)
    estimated = (found.fitted - found.without)[change:].mean()
    assert truth > 0
    assert estimated == pytest.approx(truth, abs=0.6 * truth)
