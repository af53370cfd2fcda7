"""Whether a probability of 10 % comes true one time in ten.

The expected calibration error is the mean gap between what was predicted and what happened, over
bins of equally many predictions (Naeini, Cooper & Hauskrecht 2015, Obtaining well calibrated
probabilities using Bayesian binning; equal mass after Nixon et al. 2019, Measuring calibration in
deep learning: clicks are rare, and bins of equal width would leave most of them empty).

Shape letters: N predictions, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Reliability:
    """A reliability curve.

    Attributes:
        predicted: mean probability in each bin, ascending, (K,).
        happened: share that came true, (K,).
        counts: predictions in each bin, (K,).
        low: lower ends of 95 % Wilson intervals of `happened`, (K,).
        high: upper ends, (K,).
        error: expected calibration error, 0 … 1.
        worst: largest gap of a bin.
    """

    predicted: Doubles
    happened: Doubles
    counts: NDArray[np.int64]
    low: Doubles
    high: Doubles
    error: float
    worst: float


def reliability(labels_N: Bools, probabilities_N: Doubles, bins: int = 15) -> Reliability:
    """Compare predictions with what happened.

    Args:
        labels_N: whether it happened.
        probabilities_N: that it would, in [0, 1].
        bins: K at most; equal probabilities are never split between two.

    Raises:
        ValueError: there are no predictions, or one is not a probability.
    """
    bad = ~((probabilities_N >= 0) & (probabilities_N <= 1))
    if not len(probabilities_N) or bad.any():
        raise ValueError(f"{bad.sum()} of {len(probabilities_N)} predictions are not in [0, 1]")
    edges = np.unique(np.quantile(probabilities_N, np.linspace(0, 1, bins + 1)[1:-1]))
    bin_N = np.searchsorted(edges, probabilities_N, side="left")
    counts = np.bincount(bin_N, minlength=len(edges) + 1)
    kept = counts > 0
    sums = np.bincount(bin_N, probabilities_N, minlength=len(counts))[kept]
    positives = np.bincount(bin_N, labels_N, minlength=len(counts))[kept]
    counts = counts[kept]
    predicted, happened = sums / counts, positives / counts
    gaps = np.abs(predicted - happened)
    low, high = wilson(happened, counts)
    return Reliability(
        predicted,
        happened,
        counts,
        low,
        high,
        float(np.average(gaps, weights=counts)),
        float(gaps.max()),
    )


def wilson(share: Doubles, counts: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Return 95 % intervals of shares of `counts` cases each (Wilson 1927)."""
    z = 1.959964
    centre = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2)) / (1 + z**2 / counts)
    return np.asarray(centre - half), np.asarray(centre + half)
