"""Intervals for ratios of sums, and for their differences, by a bootstrap over people.

All estimates of one call are taken over the same resamples, so that what two policies have in
common cancels in their difference. Intervals are BCa, as everywhere in the evaluation
(`recommender.evaluation.statistics`); the jackknife leaves out one person at a time.

Shape letters: U units (people), E estimates, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.evaluation.off_policy.estimators import Doubles, Sums
from recommender.evaluation.statistics import bca_interval, resampled_totals


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


class Intervals:
    """Intervals of estimates that share their people.

    Args:
        estimates: of the same U people, in the same order.
        resamples: R.
        confidence: level of the intervals.
        seed: the same seed gives the same intervals.

    Raises:
        ValueError: the estimates are not of the same people.
    """

    def __init__(
        self, estimates: Sequence[Sums], *, resamples: int, confidence: float, seed: int
    ) -> None:
        if len({len(each.above) for each in estimates}) != 1:
            raise ValueError("estimates must be of the same people")
        above_UE = np.stack([each.above for each in estimates], axis=1)
        below_UE = np.stack([each.below for each in estimates], axis=1)
        both = np.concatenate([above_UE, below_UE], axis=1)
        totals = resampled_totals(both, resamples, seed)
        size = len(estimates)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._draws_RE: Doubles = totals[:, :size] / totals[:, size:]
            self._left_out_UE: Doubles = (above_UE.sum(axis=0) - above_UE) / (
                below_UE.sum(axis=0) - below_UE
            )
        self._values = [each.value for each in estimates]
        self._confidence = confidence

    def of(self, estimate: int) -> Estimate:
        """Return one estimate."""
        return self._interval(
            self._values[estimate], self._draws_RE[:, estimate], self._left_out_UE[:, estimate]
        )

    def difference(self, estimate: int, other: int) -> Estimate:
        """Return one estimate minus another."""
        return self._interval(
            self._values[estimate] - self._values[other],
            self._draws_RE[:, estimate] - self._draws_RE[:, other],
            self._left_out_UE[:, estimate] - self._left_out_UE[:, other],
        )

    def _interval(self, value: float, draws_R: Doubles, left_out_U: Doubles) -> Estimate:
        return Estimate(value, *bca_interval(value, draws_R, left_out_U, self._confidence))
