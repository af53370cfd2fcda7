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


def levels(demand: Demand, weight: float) -> Doubles:
    """Return the exponentially weighted mean of every series, (S,); 0 where it hasn't begun.

    Args:
        demand: the series.
        weight: of the newest period, in (0, 1].
    """
    mass = (1 - (1 - weight) ** demand.lengths) / weight
    ages = demand.periods - 1 - demand.places
    parts = demand.counts * (1 - weight) ** ages
    sums = np.bincount(demand.owners, parts, minlength=len(demand))
    return np.divide(sums, mass, out=np.zeros(len(demand)), where=mass > 0)


def running_level(series: Doubles, weight: float) -> Doubles:
    """Return the exponentially weighted mean up to each period, that one included, (T,)."""
    values, total, mass = np.empty(len(series)), 0.0, 0.0
    for t, value in enumerate(series):
        total = total * (1 - weight) + float(value)
        mass = mass * (1 - weight) + 1
        values[t] = total / mass
    return values
