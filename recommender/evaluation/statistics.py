"""How sure we are: a paired bootstrap over users.

Users are drawn with replacement and every system is averaged over the same draw, so that what
is common to them (an easy user, a hard one) cancels in their difference. Intervals are BCa
(bias-corrected and accelerated: Efron 1987, Better bootstrap confidence intervals), which for
skewed metrics of a few hundred users keeps its level better than the plain percentiles.

From `_MANY` users on, each user's number of draws is a Poisson(1) variable of its own instead of
one of a multinomial: then nothing has to be drawn user by user (Chamandy et al. 2012, Estimating
uncertainty for massive data streams), and the two can't be told apart.

The minimum detectable effect is what a difference would have to be in truth for such a test set
to show it with 80 % power: (z_{1-α/2} + z_{0.8}) · sd(d) / sqrt(U), with d the users' differences.

Shape letters: U users, R resamples, S systems, M metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
POWER = 0.8
_BLOCK = 2**23  # weights at a time
_MANY = 20_000
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Intervals:
    """Estimates with intervals, one per metric; NaN where they are not defined.

    Attributes:
        estimate: (M,).
        low: lower ends, (M,).
        high: upper ends, (M,).
    """

    estimate: Doubles
    low: Doubles
    high: Doubles


class PairedBootstrap:
    """Intervals for systems that were measured on the same users.

    Args:
        values: the users' metrics, (U, S, M).
        resamples: R.
        confidence: level of the intervals.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        ValueError: there is no user, or a value is not finite.
    """

    def __init__(self, values: Doubles, *, resamples: int, confidence: float, seed: int) -> None:
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(f"{len(values)} users; all values must be finite")
        self._values_USM = values
        self._resamples = resamples
        self._confidence = confidence
        self._seed = seed
        self._means_SM: Doubles = values.mean(axis=0)

    @property
    def users(self) -> int:
        """The number of users."""
        return len(self._values_USM)

    def mean(self, system: int) -> Intervals:
        """Return the mean of one system."""
        values_UM = self._values_USM[:, system]
        return self._bca(self._means_SM[system], self._draws[:, system], self._jackknife(values_UM))

    def difference(self, system: int, rival: int) -> Intervals:
        """Return the mean of one system minus that of another."""
        values_UM = self._values_USM[:, system] - self._values_USM[:, rival]
        return self._bca(
            self._means_SM[system] - self._means_SM[rival],
            self._draws[:, system] - self._draws[:, rival],
            self._jackknife(values_UM),
        )

    def relative(self, system: int, rival: int) -> Intervals:
        """Return (system - rival) / rival; NaN where the rival may be zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            draws_RM = self._draws[:, system] / self._draws[:, rival] - 1
            estimate_M = self._means_SM[system] / self._means_SM[rival] - 1
            ours_UM = self._jackknife(self._values_USM[:, system])
            theirs_UM = self._jackknife(self._values_USM[:, rival])
            left_out_UM = ours_UM / theirs_UM - 1
        return self._bca(estimate_M, draws_RM, left_out_UM)

    def detectable(self, system: int, rival: int) -> Doubles:
        """Return the minimum detectable difference at 80 % power, (M,); NaN for one user."""
        differences_UM = self._values_USM[:, system] - self._values_USM[:, rival]
        if self.users < 2:
            return np.full(differences_UM.shape[1], np.nan)
        factor = _NORMAL.inv_cdf((1 + self._confidence) / 2) + _NORMAL.inv_cdf(POWER)
        errors_M = differences_UM.std(axis=0, ddof=1) / np.sqrt(self.users)
        return np.asarray(factor * errors_M)

    @cached_property
    def _draws(self) -> Doubles:
        """The means of every resample, (R, S, M); drawn once, in blocks of bounded memory."""
        flat = self._values_USM.reshape(self.users, -1)
        totals = resampled_totals(flat, self._resamples, self._seed)
        return (totals / self.users).reshape(self._resamples, *self._values_USM.shape[1:])

    def _jackknife(self, values_UM: Doubles) -> Doubles:
        """Return the mean without each user in turn, (U, M)."""
        total_M = values_UM.sum(axis=0)
        return np.asarray((total_M - values_UM) / max(self.users - 1, 1))

    def _bca(self, estimate_M: Doubles, draws_RM: Doubles, left_out_UM: Doubles) -> Intervals:
        low, high = np.full_like(estimate_M, np.nan), np.full_like(estimate_M, np.nan)
        for m, estimate in enumerate(estimate_M):
            low[m], high[m] = bca_interval(
                float(estimate), draws_RM[:, m], left_out_UM[:, m], self._confidence
            )
        estimate_M = np.where(np.isfinite(estimate_M), estimate_M, np.nan)
        return Intervals(estimate_M, low, high)


def resampled_totals(values_UC: Doubles, resamples: int, seed: int) -> Doubles:
    """Return column totals over users drawn with replacement, (R, C).

    Args:
        values_UC: any numbers of every user.
        resamples: R.
        seed: of the draws; the same seed gives the same users.
    """
    users = len(values_UC)
    generator = np.random.default_rng(seed)
    if users >= _MANY:
        return _poisson_totals(values_UC, resamples, generator)
    size = max(16, _BLOCK // users)
    totals = []
    for start in range(0, resamples, size):
        weights = np.empty((min(size, resamples - start), users))
        for row in weights:
            row[:] = np.bincount(generator.integers(0, users, users), minlength=users)
        totals.append(weights @ values_UC)
    return np.concatenate(totals)


def _poisson_totals(values_UC: Doubles, resamples: int, generator: np.random.Generator) -> Doubles:
    """Return column totals over Poisson(1) draws of every user, scaled to U draws, (R, C)."""
    users = len(values_UC)
    totals, drawn = np.zeros((resamples, values_UC.shape[1])), np.zeros((resamples, 1))
    height, width = 256, _BLOCK // 256
    for first in range(0, users, width):
        values = values_UC[first : first + width]
        for start in range(0, resamples, height):
            rows = slice(start, min(start + height, resamples))
            shape = (rows.stop - start, len(values))
            weights = _poisson()[generator.integers(0, 2**16, shape, np.uint16)]
            totals[rows] += weights @ values
            drawn[rows, 0] += weights.sum(axis=1)
    return np.asarray(totals * (users / drawn))


@cache
def _poisson() -> Doubles:
    """Return a table that turns 16 random bits into a Poisson(1) variable."""
    chances = np.exp(-1) / np.cumprod(np.concatenate([[1.0], np.arange(1.0, 12.0)]))
    bounds = np.round(np.cumsum(chances) * 2**16)
    return np.searchsorted(bounds, np.arange(2**16), side="right").astype(np.float64)


def bca_interval(
    estimate: float, draws_R: Doubles, left_out_U: Doubles, confidence: float
) -> tuple[float, float]:
    """Return the ends of a BCa interval; NaN where a draw or a jackknife value is not finite.

    Args:
        estimate: over all users.
        draws_R: the same over every resample.
        left_out_U: the same without each user in turn.
        confidence: level of the interval.
    """
    if not (np.isfinite(estimate) and np.isfinite(draws_R).all() and np.isfinite(left_out_U).all()):
        return float("nan"), float("nan")
    low, high = np.quantile(draws_R, _bca_levels(estimate, draws_R, left_out_U, confidence))
    return float(low), float(high)


def _bca_levels(
    estimate: float, draws: Doubles, left_out: Doubles, confidence: float
) -> tuple[float, float]:
    """Return the quantiles of the draws at which the BCa interval ends."""
    plain = (1 - confidence) / 2, (1 + confidence) / 2
    # Ties count half: of discrete draws many equal the estimate, but for rounding, which differs
    # from one processor to the next.
    tied = np.isclose(draws, estimate, rtol=1e-12, atol=1e-12)
    below = float(np.mean((draws < estimate) & ~tied) + np.mean(tied) / 2)
    spread = left_out.mean() - left_out
    scale = float((spread**2).sum()) ** 1.5
    if not 0 < below < 1 or scale == 0:
        return plain
    bias = _NORMAL.inv_cdf(below)
    acceleration = float((spread**3).sum()) / (6 * scale)

    def level(probability: float) -> float:
        z = bias + _NORMAL.inv_cdf(probability)
        return _NORMAL.cdf(bias + z / (1 - acceleration * z))

    return level(plain[0]), level(plain[1])
