"""A model of rewards for the direct and the doubly robust estimators: smoothed means, cross-fitted.

The expected reward of an item at a place is its mean there, drawn towards the place's mean as if
that had been seen `strength` times more: an item shown twice says little. Each impression is
predicted from other people's impressions only (cross-fitting: Chernozhukov et al. 2018,
Double/debiased machine learning), otherwise the model would answer with the reward it was shown.

Shape letters: N impressions, P places, A items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Predicted:
    """What the model says of each impression.

    Attributes:
        shown: q(x, a) of what was shown, (N,).
        expected: E_π[q(x, ·)] of what the policy would have shown, (N,).
    """

    shown: Doubles
    expected: Doubles


def smoothed_means(
    items_N: Ints, places_N: Ints, rewards_N: Doubles, shape: tuple[int, int], strength: float
) -> Doubles:
    """Return the expected reward of every item at every place, (P, A).

    Args:
        items_N: rows of the items shown.
        places_N: rows of the places.
        rewards_N: what came of each.
        shape: (P, A).
        strength: impressions that the place's mean counts for, > 0.
    """
    cells = places_N * shape[1] + items_N
    shown_PA = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    earned_PA = np.bincount(cells, rewards_N, minlength=shape[0] * shape[1]).reshape(shape)
    overall = rewards_N.mean() if len(rewards_N) else 0.0
    # A place that nobody saw is taken as all places together.
    place_P = (earned_PA.sum(axis=1) + overall * strength) / (shown_PA.sum(axis=1) + strength)
    return np.asarray((earned_PA + strength * place_P[:, None]) / (shown_PA + strength))


def cross_fitted(
    units_N: Ints,
    items_N: Ints,
    places_N: Ints,
    rewards_N: Doubles,
    target_PA: Doubles,
    *,
    folds: int = 5,
    strength: float = 20.0,
) -> Predicted:
    """Predict each impression from those of other people.

    Args:
        units_N: whose each impression is, as rows 0 … U - 1.
        items_N: rows of the items shown.
        places_N: rows of the places.
        rewards_N: what came of each.
        target_PA: the policy's probability of every item at every place; rows sum to 1.
        folds: people are dealt into so many groups.
        strength: see `smoothed_means`.
    """
    shown, expected = np.empty_like(rewards_N), np.empty_like(rewards_N)
    group_N = units_N % folds
    shape = (target_PA.shape[0], target_PA.shape[1])
    for fold in range(folds):
        mine = group_N == fold
        q_PA = smoothed_means(items_N[~mine], places_N[~mine], rewards_N[~mine], shape, strength)
        shown[mine] = q_PA[places_N[mine], items_N[mine]]
        expected[mine] = (target_PA * q_PA).sum(axis=1)[places_N[mine]]
    return Predicted(shown, expected)
