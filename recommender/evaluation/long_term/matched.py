"""Matched comparison: people under a new model against others who were like them before.

Each treated person is paired with the untreated ones nearest in what they did *before* the
change (standardised, within a caliper; with replacement), and outcomes are compared within pairs
(Rubin 1973; Stuart 2010, Matching methods for causal inference). Balance is shown before and
after: a standardised difference above 0.1 means that the groups still differ.

Shape letters: U people, F covariates, M matched treated people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.statistics import PairedBootstrap

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
CAVEATS = (
    "Only what was measured before the change is made alike; people who differ in what wasn't "
    "measured still differ.",
    "It speaks for the treated people that found a match, not for everybody.",
)
BALANCED = 0.1
"""Largest standardised mean difference at which groups count as alike."""


@dataclass(frozen=True)
class Matched:
    """The effect on the treated.

    Attributes:
        effect: mean difference of outcomes within pairs.
        low, high: its interval, by bootstrap over treated people.
        naive: the difference of the plain group means.
        treated, matched: people under the new model; of them, those with a match.
        before, after: standardised mean difference of each covariate, (F,).
    """

    effect: float
    low: float
    high: float
    naive: float
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
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 7,
) -> Matched:
    """Compare treated people with others like them.

    Args:
        covariates_UF: what people did before the change.
        treated_U: who came under the new model.
        outcome_U: what they did after.
        neighbours: untreated people that each treated one is compared with.
        caliper: farthest that a match may be away, in standard deviations of distance per
            covariate (root mean square).
        resamples: of the bootstrap.
        confidence: level of the interval.
        seed: of the draws.

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
    distance, found = cKDTree(scaled_UF[others]).query(
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
    both = np.stack([outcome_U[mine], twin_outcome_M], axis=1)[:, :, None]
    bootstrap = PairedBootstrap(both, resamples=resamples, confidence=confidence, seed=seed)
    effect = bootstrap.difference(0, 1)
    return Matched(
        float(effect.estimate[0]),
        float(effect.low[0]),
        float(effect.high[0]),
        float(outcome_U[treated].mean() - outcome_U[others].mean()),
        len(treated),
        len(mine),
        scaled_UF[treated].mean(axis=0) - scaled_UF[others].mean(axis=0),
        scaled_UF[mine].mean(axis=0) - twin_MF.mean(axis=0),
    )
