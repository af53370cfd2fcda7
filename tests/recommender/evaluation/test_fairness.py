"""Gaps between groups of people, and what providers get for what they earn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recommender.evaluation.fairness import provider_exposure, quality_gap


def _people(gap: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, 3000)
    return np.where(group == 1, 0.3 - gap, 0.3) + rng.normal(0, 0.2, 3000), group


def test_a_known_gap_is_found_with_an_interval_around_it() -> None:
    metric, group = _people(0.1)
    found = quality_gap(metric, group, 3, minimum_users=500, resamples=500)
    assert found is not None
    assert found.worst == 1
    assert found.low < 0.1 < found.high + 0.02
    assert found.users.sum() == 3000


def test_the_gap_of_two_groups_by_hand() -> None:
    metric = np.array([1.0, 0.5, 0.0, 0.5])
    found = quality_gap(metric, np.array([0, 0, 1, 1]), 2, minimum_users=2)
    assert found is not None
    assert found.gap == pytest.approx(0.5)
    assert (found.best, found.worst) == (0, 1)


def test_small_groups_are_not_judged() -> None:
    metric, group = _people(0.1)
    group[:20] = 3
    found = quality_gap(metric, group, 4, minimum_users=500)
    assert found is not None
    assert math.isnan(found.means[3])
    assert quality_gap(metric[:20], group[:20], 4, minimum_users=5) is None


def test_exposure_by_hand() -> None:
    lists = np.array([[0, 1], [0, 2], [0, -1]])
    provider = np.array([0, 1, 1, 2])
    found = provider_exposure(lists, np.array([0, 1, 1, 2]), provider, 3)
    second = 1 / math.log2(3)
    assert found.shown == pytest.approx([3 / (3 + 2 * second), 2 * second / (3 + 2 * second), 0])
    assert found.earned == pytest.approx([0.25, 0.75, 0])
    assert found.ratio[:2] == pytest.approx(found.shown[:2] / found.earned[:2])
    assert math.isnan(found.ratio[2])


def test_a_policy_that_shows_what_people_take_is_even() -> None:
    provider = np.array([0, 1])
    found = provider_exposure(np.array([[0], [1], [1]]), np.array([0, 1, 1]), provider, 2)
    assert found.ratio == pytest.approx([1, 1])
