"""How far predicted ratings are from those that were given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def mse(given_N: Doubles, predicted_N: Doubles) -> float:
    """Return the mean squared error; NaN without any rating."""
    return float(np.mean((given_N - predicted_N) ** 2)) if len(given_N) else float("nan")


def rmse(given_N: Doubles, predicted_N: Doubles) -> float:
    """Return the root of the mean squared error, in the unit of the ratings."""
    return float(np.sqrt(mse(given_N, predicted_N)))


def mae(given_N: Doubles, predicted_N: Doubles) -> float:
    """Return the mean absolute error, in the unit of the ratings; NaN without any."""
    return float(np.mean(np.abs(given_N - predicted_N))) if len(given_N) else float("nan")
