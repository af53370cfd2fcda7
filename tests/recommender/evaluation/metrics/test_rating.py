"""Rating errors by hand and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from recommender.evaluation.metrics.rating import mae, mse, rmse


def test_by_hand() -> None:
    given, predicted = np.array([5.0, 3.0, 1.0]), np.array([4.0, 3.0, 3.0])
    assert mse(given, predicted) == pytest.approx(5 / 3)
    assert rmse(given, predicted) == pytest.approx(math.sqrt(5 / 3))
    assert mae(given, predicted) == 1


def test_as_scikit_learn_has_it() -> None:
    rng = np.random.default_rng(0)
    given, predicted = rng.integers(1, 6, 500).astype(float), rng.normal(3, 1, 500)
    assert mse(given, predicted) == pytest.approx(
        sklearn_metrics.mean_squared_error(given, predicted)
    )
    assert mae(given, predicted) == pytest.approx(
        sklearn_metrics.mean_absolute_error(given, predicted)
    )


def test_no_ratings_is_not_a_number() -> None:
    assert all(math.isnan(each(np.empty(0), np.empty(0))) for each in (mse, rmse, mae))
