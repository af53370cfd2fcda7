"""Exponential smoothing of many demand series at once.

The level of a series is the exponentially weighted mean of its past: with weight a, the demand k
periods ago counts (1 - a)^k, and the weights are normed over the periods that the series has had.
(The recursion l <- l + a (y - l) of Gardner 1985, Exponential smoothing: the state of the art, §3,
but without a first value to start from, which would stay in short series for long.) Only periods
with demand are touched, so the cost grows with the events and not with items times periods.

Shape letters: S series, T periods.
"""

from __future__ import annotations

import numpy as np

from recommender.features.demand import Demand, Doubles

# At most this many times the weights of a long series stand behind the common mean.
_STRONGEST_PRIOR = 10.0


def levels(demand: Demand, weight: float) -> Doubles:
    """Return the exponentially weighted mean of every series, (S,); 0 where it hasn't begun.

    Args:
        demand: the series.
        weight: of the newest period, in (0, 1].
    """
    sums, mass = _weighted(demand, weight)
    return np.divide(sums, mass, out=np.zeros(len(demand)), where=mass > 0)


def shrunken_levels(demand: Demand, weight: float) -> Doubles:
    """Return the levels drawn to the mean of all series, the more the less is known of one, (S,).

    A series begins with demand, and one of a day would otherwise have the highest level of all.
    Levels are taken as draws from a Gamma distribution and demand as Poisson around them; then the
    expected level is (sum of weighted demand + k·mean) / (sum of weights + k), with k the mean over
    the variance of the levels, by moments (Robbins 1956; Carlin & Louis 2000, Bayes and empirical
    Bayes methods, §3.3). Series that haven't begun stay at 0.

    Args:
        demand: the series.
        weight: of the newest period, in (0, 1].
    """
    sums, mass = _weighted(demand, weight)
    begun = mass > 0
    if not sums.any():
        return np.zeros(len(demand))
    level = np.divide(sums, mass, out=np.zeros(len(demand)), where=begun)
    mean = sums.sum() / mass.sum()
    square = (1 - weight) ** 2
    squares = (1 - square**demand.lengths) / (1 - square)
    noise = np.divide(level * squares, mass**2, out=np.zeros(len(demand)), where=begun)
    spread = float(np.average((level - mean) ** 2 - noise, weights=mass))
    strength = _STRONGEST_PRIOR / weight
    if spread > 0:
        strength = min(mean / spread, strength)
    return np.where(begun, (sums + strength * mean) / (mass + strength), 0.0)


def running_level(series: Doubles, weight: float) -> Doubles:
    """Return the exponentially weighted mean up to each period, that one included, (T,)."""
    values, total, mass = np.empty(len(series)), 0.0, 0.0
    for t, value in enumerate(series):
        total = total * (1 - weight) + float(value)
        mass = mass * (1 - weight) + 1
        values[t] = total / mass
    return values


def _weighted(demand: Demand, weight: float) -> tuple[Doubles, Doubles]:
    """Return the weighted sum of each series' demand and the sum of its weights, (S,) each."""
    ages = demand.periods - 1 - demand.places
    parts = demand.counts * (1 - weight) ** ages
    sums = np.bincount(demand.owners, parts, minlength=len(demand)).astype(np.float64)
    mass = (1 - (1 - weight) ** demand.lengths.astype(np.float64)) / weight
    return sums, mass
