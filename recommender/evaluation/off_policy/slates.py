"""Estimators of the value of whole lists, under a stated model of how people read them.

A list of K places has a weight per place, w_k = π(a_k | x, a_1 … a_{k-1}) / π₀(the same), and a
reward per place, r_k. What a place's reward depends on decides which weights are needed:

    independent   on its own item and place only:  sum of w_k r_k
                  (item-position model: Li et al. 2018, Offline evaluation of ranking policies
                  with click models)
    cascade       on its own and the places above: sum of (w_1 … w_k) r_k
                  (RIPS: McInerney et al. 2020, Counterfactual evaluation of slate recommendations
                  with sequential reward interactions)
    whole         on the whole list:               (w_1 … w_K) · sum of r_k

From top to bottom the assumptions weaken and the variance grows. `cascade_doubly_robust` adds a
model of the rewards that are still to come (Kiyohara et al. 2022, Doubly robust off-policy
evaluation for ranking policies under the cascade behavior model).

Lists may be short: a place that was not shown has weight 1 and reward 0.

Shape letters: B lists, K places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def independent(rewards_BK: Doubles, weights_BK: Doubles) -> Doubles:
    """Return each list's term of the item-position model, (B,)."""
    return np.asarray((weights_BK * rewards_BK).sum(axis=1))


def cascade(rewards_BK: Doubles, weights_BK: Doubles) -> Doubles:
    """Return each list's term of the cascade model, (B,)."""
    return np.asarray((np.cumprod(weights_BK, axis=1) * rewards_BK).sum(axis=1))


def whole(rewards_BK: Doubles, weights_BK: Doubles) -> Doubles:
    """Return each list's term without any assumption about how it is read, (B,)."""
    return np.asarray(weights_BK.prod(axis=1) * rewards_BK.sum(axis=1))


def cascade_doubly_robust(
    rewards_BK: Doubles, weights_BK: Doubles, predicted_BK: Doubles, expected_BK: Doubles
) -> Doubles:
    """Return each list's term of the doubly robust cascade estimator, (B,).

    Args:
        rewards_BK: of each place.
        weights_BK: of each place.
        predicted_BK: Q_k(x, a_1 … a_k): what a model expects of place k and those below it, given
            what was shown down to k.
        expected_BK: E over π's choice at place k of Q_k(x, a_1 … a_{k-1}, ·).
    """
    upto_BK = np.cumprod(weights_BK, axis=1)
    above_BK = np.concatenate([np.ones((len(upto_BK), 1)), upto_BK[:, :-1]], axis=1)
    # Q_k counts what is still to come, and the next place's expectation stands for it: what is
    # weighed at each place is r_k + E[Q_{k+1}] - Q_k, which a good model makes small.
    terms_BK = upto_BK * (rewards_BK - predicted_BK) + above_BK * expected_BK
    return np.asarray(terms_BK.sum(axis=1))
