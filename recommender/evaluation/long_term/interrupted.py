"""Interrupted time series: did a daily figure jump or bend on the day of a change?

Segmented regression (Wagner et al. 2002; Bernal, Cummins & Gasparrini 2017):

    y_t = a + b t + level · [t ≥ T] + slope · (t − T)[t ≥ T] + weekday effects + noise

with Newey & West (1987) errors, because neighbouring days resemble each other.

Shape letters: T days, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
CAVEATS = (
    "Whatever else changed on that day (a campaign, a holiday, a price) is counted as effect.",
    "The trend before the change is assumed to have gone on unbent without it.",
    "With few days on either side the errors are too small.",
)
LEAST_DAYS = 14
"""Days needed on either side: two weeks, so that weekdays can be told from the change."""


@dataclass(frozen=True)
class Term:
    """A coefficient with its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Interruption:
    """What happened at a change.

    Attributes:
        level: the jump on the day of the change, in units of the figure.
        slope: the change of the trend, in units per day.
        average: what both make of the days after the change together, in units of the figure. Its
            ends are those of level and slope added up: wider than their covariance asks for,
            which leaves room for a trend that would have bent by itself.
        fitted: (T,).
        without: what the trend before would have led to, (T,).
        days_before, days_after: days that the fit rests on.
        sufficient: whether there are at least `LEAST_DAYS` on either side.
    """

    level: Term
    slope: Term
    average: Term
    fitted: Doubles
    without: Doubles
    days_before: int
    days_after: int
    sufficient: bool


def interrupted(
    daily_T: Doubles,
    change: int,
    *,
    confidence: float = 0.95,
    weekdays: bool = True,
    left_out_T: NDArray[np.bool_] | None = None,
) -> Interruption:
    """Look for a jump and a bend.

    Args:
        daily_T: a figure per day.
        change: the first day under the new regime.
        confidence: level of the intervals.
        weekdays: whether days of the week have effects of their own.
        left_out_T: days that nothing is learned from: without data, or under both regimes.

    Raises:
        ValueError: there are fewer than 3 days on a side, or a value is not finite.
    """
    days = len(daily_T)
    kept_T = np.ones(days, bool) if left_out_T is None else ~left_out_T
    sides = int(kept_T[:change].sum()), int(kept_T[change:].sum())
    if min(sides) < 3 or not np.isfinite(daily_T[kept_T]).all():
        raise ValueError(f"{sides[0]} days before and {sides[1]} after; all must be finite")
    t = np.arange(days, dtype=np.float64)
    after = (t >= change).astype(np.float64)
    columns = [np.ones(days), t, after, after * (t - change)]
    if weekdays and days >= 2 * LEAST_DAYS:
        columns += [(t % 7 == day).astype(np.float64) for day in range(1, 7)]
    x_TP = np.stack(columns, axis=1)
    seen_TP, seen_T = x_TP[kept_T], daily_T[kept_T]
    beta_P, *_ = np.linalg.lstsq(seen_TP, seen_T, rcond=None)
    error_P = np.sqrt(np.diag(_newey_west(seen_TP, seen_T - seen_TP @ beta_P)))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    level, slope = (
        Term(float(b), float(b - z * e), float(b + z * e))
        for b, e in zip(beta_P[2:4], error_P[2:4], strict=True)
    )
    distance = float((t - change)[kept_T & (t >= change)].mean())
    before_P = beta_P.copy()
    before_P[2:4] = 0
    return Interruption(
        level,
        slope,
        Term(
            level.estimate + distance * slope.estimate,
            level.low + distance * slope.low,
            level.high + distance * slope.high,
        ),
        x_TP @ beta_P,
        x_TP @ before_P,
        *sides,
        min(sides) >= LEAST_DAYS,
    )


def _newey_west(x_TP: Doubles, residual_T: Doubles) -> Doubles:
    """Return the coefficients' covariance under heteroscedastic, autocorrelated noise."""
    days, parameters = x_TP.shape
    lags = int(np.floor(4 * (days / 100) ** (2 / 9)))  # Newey & West's rule of thumb
    score_TP = x_TP * residual_T[:, None]
    middle = score_TP.T @ score_TP
    for lag in range(1, lags + 1):
        gamma = score_TP[lag:].T @ score_TP[:-lag]
        middle += (1 - lag / (lags + 1)) * (gamma + gamma.T)
    bread = np.linalg.pinv(x_TP.T @ x_TP)
    return np.asarray(bread @ middle @ bread * days / max(days - parameters, 1))
