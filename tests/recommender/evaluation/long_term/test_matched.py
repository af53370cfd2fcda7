"""Matched comparison where the confounder is known."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.evaluation.long_term.matched import matched


def _people(seed: int, effect: float, people: int = 1500):
    """Active people get the new model first, and would have done more anyway."""
    rng = np.random.default_rng(seed)
    activity, recency = rng.normal(0, 1, people), rng.normal(0, 1, people)
    treated = rng.random(people) < 1 / (1 + np.exp(-1.2 * activity))
    outcome = 2 * activity + 0.5 * recency + effect * treated + rng.normal(0, 1, people)
    return np.stack([activity, recency], axis=1), treated, outcome


def test_the_naive_difference_is_confounded_and_the_matched_one_is_not() -> None:
    found = [matched(*_people(seed, 1.0)) for seed in range(30)]
    assert np.mean([each.naive for each in found]) > 2.5
    assert np.mean([each.effect for each in found]) == pytest.approx(1.0, abs=0.15)
    assert sum(each.low <= 1.0 <= each.high for each in found) >= 24  # what bias is left


def test_intervals_cover_the_truth_though_counterparts_stand_in_for_many() -> None:
    def trial(seed: int):
        rng = np.random.default_rng(seed)
        treated = rng.random(600) < 0.8  # four times as many as could be counterparts
        covariates = rng.normal(0, 1, (600, 1))
        return covariates, treated, covariates[:, 0] + 0.3 * treated + rng.normal(0, 1, 600)

    found = [matched(*trial(seed)) for seed in range(200)]
    covered = np.mean([each.low <= 0.3 <= each.high for each in found])
    assert 0.91 <= covered <= 0.99
    assert np.mean([each.detectable for each in found]) > 0.2


def test_balance_is_shown_before_and_after() -> None:
    found = matched(*_people(0, 0.0))
    assert abs(found.before[0]) > 0.5
    assert found.balanced
    assert found.matched <= found.treated


def test_what_was_not_measured_still_confounds() -> None:
    covariates, treated, outcome = _people(1, 0.0, 4000)
    found = matched(covariates[:, 1:], treated, outcome)
    assert found.low > 0.5  # an effect that isn't there: the caveat written beside it


def test_groups_that_do_not_overlap_are_refused() -> None:
    covariates = np.array([[0.0]] * 5 + [[100.0]] * 5)
    treated = np.arange(10) >= 5
    with pytest.raises(ValueError, match="don't overlap"):
        matched(covariates, treated, np.zeros(10))
    with pytest.raises(ValueError, match="0 of 10 people are treated"):
        matched(covariates, np.zeros(10, bool), np.zeros(10))
