"""Calibration: by hand, where it is perfect, where it is off by a known amount."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from recommender.evaluation.metrics.calibration import reliability


def test_by_hand() -> None:
    found = reliability(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.2, 0.6, 0.8]), bins=2)
    assert found.predicted == pytest.approx([0.15, 0.7])
    assert found.happened.tolist() == [0, 1]
    assert found.error == pytest.approx((0.15 + 0.3) / 2)
    assert found.worst == pytest.approx(0.3)


@given(st.floats(0.0, 0.3), st.integers(0, 50))
def test_an_error_of_a_known_size_is_found(shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.1, 0.6, 20_000)
    found = reliability(rng.random(20_000) < truth, truth + shift)
    # Chance alone makes gaps of about sqrt(.23 / 1333) · .8 = .011 in each of 15 bins.
    assert found.error == pytest.approx(shift, abs=0.02)
    honest = (found.low <= found.predicted - shift) & (found.predicted - shift <= found.high)
    assert honest.mean() >= 0.6


def test_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.beta(1, 9, 5000)
    labels = rng.random(5000) < probabilities**1.2
    found = reliability(labels, probabilities, bins=10)
    happened, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    assert found.happened == pytest.approx(happened, abs=2e-3)
    assert found.predicted == pytest.approx(predicted, abs=2e-3)


def test_equal_predictions_share_a_bin() -> None:
    found = reliability(np.array([1, 0, 0, 0], bool), np.full(4, 0.25))
    assert found.counts.tolist() == [4]
    assert found.error == 0


@pytest.mark.parametrize("bad", [[], [1.5], [np.nan]])
def test_what_is_no_probability_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="not in"):
        reliability(np.ones(len(bad), bool), np.array(bad, float))
