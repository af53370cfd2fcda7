"""Matched comparison: people under a new model against others who were like them before.

Each treated person is paired with the untreated ones nearest in what they did *before* the
change (standardised, within a caliper; with replacement), and outcomes are compared within pairs
(Rubin 1973; Stuart 2010, Matching methods for causal inference). Balance is shown before and
after: a standardised difference above 0.1 means that the groups still differ.

A person who stands as a counterpart for several counts with all of them at once, so pairs are not
independent. The standard error is that of Abadie & Imbens (2006, Large sample properties of
matching estimators, theorem 7): with d the M differences within pairs, and k the summed and q the
summed squared weights with which an untreated person stands in,

    error² = [sum (d − mean d)² + sum over the untreated (k² − q) σ²] / M²

where σ² is the variance of the outcome among alike people, from each one's nearest others.

Shape letters: U people, F covariates, M matched treated people.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

from recommender.evaluation.statistics import POWER

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
CAVEATS = (
    "Only what was measured before the change is made alike; people who differ in what wasn't "
    "measured still differ.",
    "It speaks for the treated people that found a match, not for everybody.",
)
_ALIKE = 3
"""Nearest others that the noise of an outcome is told from."""
BALANCED = 0.1
"""Largest standardised mean difference at which groups count as alike."""


@dataclass(frozen=True)
class Matched:
    """The effect on the treated.

    Attributes:
        effect: mean difference of outcomes within pairs.
        low, high: its interval.
        naive: the difference of the plain group means.
        detectable: the smallest true effect that so many people show with 80 % power.
        treated, matched: people under the new model; of them, those with a match.
        before, after: standardised mean difference of each covariate, (F,).
    """

    effect: float
    low: float
    high: float
    naive: float
    detectable: float
    treated: int
    matched: int
    before: Doubles
    after: Doubles

    @property
    def balanced(self) -> bool:
        """Whether the matched groups are alike in every covariate."""
        return bool((np.abs(self.after) <= BALANCED).all())


def matched(
    covariates_UF: Doubles,
    treated_U: NDArray[np.bool_],
    outcome_U: Doubles,
    *,
    neighbours: int = 3,
    caliper: float = 0.5,
    confidence: float = 0.95,
) -> Matched:
    """Compare treated people with others like them.

    Args:
        covariates_UF: what people did before the change.
        treated_U: who came under the new model.
        outcome_U: what they did after.
        neighbours: untreated people that each treated one is compared with.
        caliper: farthest that a match may be away, in standard deviations of distance per
            covariate (root mean square).
        confidence: level of the interval.

    Raises:
        ValueError: a group is empty, or nobody finds a match.
    """
    from scipy.spatial import cKDTree

    if not treated_U.any() or treated_U.all():
        raise ValueError(f"{int(treated_U.sum())} of {len(treated_U)} people are treated")
    spread_F = covariates_UF.std(axis=0)
    scaled_UF = (covariates_UF - covariates_UF.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1)
    treated, others = np.flatnonzero(treated_U), np.flatnonzero(~treated_U)
    wanted = min(neighbours, len(others))
    far = caliper * np.sqrt(scaled_UF.shape[1])
    tree = cKDTree(scaled_UF[others])
    distance, found = tree.query(
        scaled_UF[treated], k=list(range(1, wanted + 1)), distance_upper_bound=far
    )
    near_MK = np.isfinite(distance)
    kept = near_MK[:, 0]
    if not kept.any():
        raise ValueError("no treated person has anybody like them: the groups don't overlap")
    near_MK, found = near_MK[kept], np.minimum(found[kept], len(others) - 1)
    weight_MK = near_MK / near_MK.sum(axis=1, keepdims=True)
    mine = treated[kept]
    twin_outcome_M = (outcome_U[others][found] * weight_MK).sum(axis=1)
    twin_MF = (scaled_UF[others][found] * weight_MK[:, :, None]).sum(axis=1)
    difference_M = outcome_U[mine] - twin_outcome_M
    effect = float(difference_M.mean())
    k, q = (
        np.bincount(found.ravel(), weights.ravel(), minlength=len(others))
        for weights in (weight_MK, weight_MK**2)
    )
    spread = ((difference_M - effect) ** 2).sum()
    spread += ((k**2 - q) * _noise(tree, scaled_UF[others], outcome_U[others])).sum()
    error = float(np.sqrt(max(spread, 0.0))) / len(mine)
    normal = NormalDist()
    z = normal.inv_cdf((1 + confidence) / 2)
    return Matched(
        effect,
        effect - z * error,
        effect + z * error,
        float(outcome_U[treated].mean() - outcome_U[others].mean()),
        (z + normal.inv_cdf(POWER)) * error,
        len(treated),
        len(mine),
        scaled_UF[treated].mean(axis=0) - scaled_UF[others].mean(axis=0),
        scaled_UF[mine].mean(axis=0) - twin_MF.mean(axis=0),
    )


def _noise(tree: cKDTree, scaled_UF: Doubles, outcome_U: Doubles) -> Doubles:
    """Return each untreated person's variance of the outcome, from the nearest other ones, (U,)."""
    others = min(_ALIKE, len(outcome_U) - 1)
    if not others:
        return np.zeros(len(outcome_U))
    _, near_UK = tree.query(scaled_UF, k=others + 1)
    near = outcome_U[near_UK]
    # The sample variance among a person and the others; whoever shares all covariates is as good.
    return np.asarray(near.var(axis=1, ddof=1))
