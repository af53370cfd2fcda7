"""How far forecasts of demand are from what came, per series.

With e the errors over all origins and periods ahead:

    MAE   mean |e|
    RMSE  sqrt(mean e²)
    MASE  the mean over origins of (mean |e| of the origin / scale of the origin), where scale is
          the mean absolute error of the seasonal-naive forecast within what was known at the origin
          (Hyndman & Koehler 2006, Another look at measures of forecast accuracy, §5). Below 1 a
          forecast is better than that was in the past.

Shape letters: S series, K origins, H periods ahead, T periods.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

NAMES = ("mae", "rmse", "mase")


def errors(truth_SKH: Doubles, ahead_SKH: Doubles, scale_SK: Doubles) -> Doubles:
    """Return MAE, RMSE and MASE of every series, (S, 3).

    Args:
        truth_SKH: what came.
        ahead_SKH: what was forecast.
        scale_SK: of `scale`, above 0.
    """
    distance_SKH = np.abs(truth_SKH - ahead_SKH)
    mae_S = distance_SKH.mean(axis=(1, 2))
    rmse_S = np.sqrt((distance_SKH**2).mean(axis=(1, 2)))
    mase_S = (distance_SKH.mean(axis=2) / scale_SK).mean(axis=1)
    return np.stack([mae_S, rmse_S, mase_S], axis=1)


def scale(series: Doubles, season: int) -> float:
    """Return the mean absolute difference of periods a season apart; 0 where there are none.

    Args:
        series: what was known, (T,).
        season: its length in periods; 1 without a season.
    """
    if len(series) <= season:
        return 0.0
    return float(np.abs(series[season:] - series[:-season]).mean())
