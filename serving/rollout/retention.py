"""How much of the champion's hit rate a candidate keeps: the one look that a promotion needs.

Shown once, at the last step in which both arms are served, with all the users planned for it;
a fixed number of users and a single look, so an ordinary test is right, and it is sharper than a
bound that must hold at every look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_MOST = 100.0
_BISECTIONS = 60


@dataclass(frozen=True)
class Stratum:
    """The users of one step, who were served at the same time.

    Attributes:
        stable: hits and users of the stable arm.
        candidate: hits and users of the candidate's arm.
    """

    stable: tuple[int, int]
    candidate: tuple[int, int]

    @property
    def weight(self) -> float:
        """Mantel-Haenszel weight: the information that this step holds about a difference."""
        total = self.stable[1] + self.candidate[1]
        return self.stable[1] * self.candidate[1] / total if total else 0.0


def difference(strata: Sequence[Stratum]) -> float:
    """Return candidate minus stable hit rate, compared within each step and then averaged.

    Comparing within steps keeps a step's own level (its hour, its users) out of the difference,
    which the plain rates of both arms would not: the arms' shares change from step to step.
    """
    used = [stratum for stratum in strata if stratum.weight]
    total = sum(stratum.weight for stratum in used)
    if not total:
        return 0.0
    return (
        sum(
            stratum.weight
            * (stratum.candidate[0] / stratum.candidate[1] - stratum.stable[0] / stratum.stable[1])
            for stratum in used
        )
        / total
    )


def score(strata: Sequence[Stratum], ratio: float) -> float:
    """Return how far the candidate is above `ratio` · the stable arm, in standard errors.

    The stratified score test of Farrington & Manning (1990): the variance is taken at the rates
    that fit best *under* the null "candidate = ratio · stable". So it doesn't collapse to nothing
    where an arm has no hits at all, as the plain one does.

    Args:
        strata: one per step.
        ratio: 0 or more.

    Returns:
        a standard normal value where the null holds; 0 where there is nothing to compare.
    """
    gain = variance = 0.0
    for stratum in strata:
        if not stratum.weight:
            continue
        (x_s, n_s), (x_c, n_c) = stratum.stable, stratum.candidate
        stable = _restricted(stratum, ratio)
        candidate = ratio * stable
        gain += stratum.weight * (x_c / n_c - ratio * x_s / n_s)
        variance += stratum.weight**2 * (
            candidate * (1 - candidate) / n_c + ratio**2 * stable * (1 - stable) / n_s
        )
    if variance <= 0:
        return math.inf if gain > 0 else 0.0
    return gain / math.sqrt(variance)


def kept(strata: Sequence[Stratum], alpha: float) -> float:
    """Return the share of the champion's hit rate that the candidate keeps at least.

    Args:
        strata: one per step.
        alpha: chance that it keeps less than what is returned.

    Returns:
        the lower confidence bound of the ratio of the rates; 1.0 is "as good", 0 is "unknown".
    """
    needed = NormalDist().inv_cdf(1 - alpha)
    if not any(stratum.weight and stratum.candidate[0] for stratum in strata):
        return 0.0
    low, high = 0.0, _MOST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if score(strata, middle) >= needed:
            low = middle
        else:
            high = middle
    return low


def users_needed(rate: float, ratio: float, alpha: float, power: float = 0.8) -> int:
    """Return the users per arm with which an equally good candidate is shown to keep `ratio`.

    Args:
        rate: hit rate of both arms.
        ratio: that has to be kept, below 1.
        alpha: chance of passing a candidate that keeps just less.
        power: chance of passing an equally good one.
    """
    if not 0 < rate < 1 or ratio >= 1:
        return 0
    normal = NormalDist()
    distance = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    spread = rate * (1 - rate) * (1 + ratio**2)
    return math.ceil(distance**2 * spread / (rate * (1 - ratio)) ** 2)


def _restricted(stratum: Stratum, ratio: float) -> float:
    """Return the stable arm's most likely rate if the candidate's is `ratio` times it.

    The root in [0, 1] of the likelihood's derivative, which is quadratic in the rate.
    """
    (x_s, n_s), (x_c, n_c) = stratum.stable, stratum.candidate
    hits = x_s + x_c
    if ratio == 0:
        return hits / (n_s + x_c)
    a = ratio * (n_s + n_c)
    b = ratio * (n_c + x_s) + n_s + x_c
    root = math.sqrt(max(b * b - 4 * a * hits, 0.0))
    # The stable form of (b - root) / 2a.
    return min(2 * hits / (b + root), 1.0, 1.0 / ratio)
