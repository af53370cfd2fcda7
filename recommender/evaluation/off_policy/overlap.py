"""Whether a log can tell anything about another policy.

Weights that average to 1 and are of like size mean that the log holds what the policy would have
shown. Few large ones mean that the answer rests on a handful of impressions; an average far from
1, that something the policy shows was never logged or that the propensities are wrong.

The effective sample size is (sum w)² / sum w² (Kish 1965, Survey sampling): so many impressions
of the policy itself would have told as much.

Shape letters: N impressions, U units (people).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """How well a log covers a policy.

    Attributes:
        impressions: N.
        units: people behind them.
        effective: effective sample size, 0 … N.
        largest_share: the largest weight's share of all weight.
        mean_weight: 1 but for chance, if the log covers the policy.
        mean_weight_error: standard error of that, by person.
        uncovered: share of the policy's choices that the log never made; None if not known.
    """

    impressions: int
    units: int
    effective: float
    largest_share: float
    mean_weight: float
    mean_weight_error: float
    uncovered: float | None

    @property
    def off_balance(self) -> float:
        """How many standard errors the mean weight is away from 1."""
        gap = abs(self.mean_weight - 1)
        if self.mean_weight_error == 0:
            return 0.0 if gap < 1e-9 else float("inf")
        return gap / self.mean_weight_error


def overlap(units_N: Ints, weights_N: Doubles, uncovered: float | None = None) -> Overlap:
    """Look at the weights of a log.

    Args:
        units_N: whose each impression is, as rows 0 … U - 1.
        weights_N: π(a|x) / π₀(a|x), ≥ 0.
        uncovered: share of the policy's choices that the logging policy never makes.
    """
    total, squares = float(weights_N.sum()), float((weights_N**2).sum())
    count = len(weights_N)
    mean = total / count if count else float("nan")
    people = int(units_N.max()) + 1 if count else 0
    # Deviations are summed within people: their impressions depend on each other.
    by_unit = np.bincount(units_N, weights_N - mean, minlength=people)
    error = float(np.sqrt((by_unit**2).sum())) / count if count else float("nan")
    return Overlap(
        impressions=count,
        units=people,
        effective=total**2 / squares if squares else 0.0,
        largest_share=float(weights_N.max()) / total if total else 1.0,
        mean_weight=mean,
        mean_weight_error=error,
        uncovered=uncovered,
    )
