"""Estimators of a policy's value per impression, as sums that can be resampled by person.

With π the policy asked about, π₀ the one that logged, w = π(a|x) / π₀(a|x), r the reward and
q(x, a) a model of it:

    IPS          mean of w r                     (Horvitz & Thompson 1952)
    clipped IPS  mean of min(w, cap) r           less variance, biased towards 0
    SNIPS        sum w r / sum w                 (Swaminathan & Joachims 2015, The self-normalized
                                                  estimator for counterfactual learning)
    DM           mean of E_π[q(x, ·)]            as good as the model is
    DR           mean of E_π[q(x, ·)] + w (r − q(x, a))   (Dudík, Langford & Li 2011, Doubly
                                                  robust policy evaluation and learning)

Each is a ratio of two sums over impressions. Summed by person first, the same ratio can be
taken over any resample of people (`intervals.py`).

Shape letters: N impressions, U units (people).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sums:
    """An estimator as two sums per person; its value is the ratio of their totals.

    Attributes:
        above: numerators, (U,).
        below: denominators, (U,).
    """

    above: Doubles
    below: Doubles

    @property
    def value(self) -> float:
        """The estimate; NaN where nothing was weighed."""
        total = float(self.below.sum())
        return float(self.above.sum()) / total if total else float("nan")


def ips(units_N: Ints, rewards_N: Doubles, weights_N: Doubles) -> Sums:
    """Inverse propensity scoring: unbiased where π₀ shows all that π shows."""
    return _sums(units_N, weights_N * rewards_N, np.ones_like(rewards_N))


def clipped_ips(units_N: Ints, rewards_N: Doubles, weights_N: Doubles, cap: float) -> Sums:
    """IPS with weights of at most `cap`."""
    return ips(units_N, rewards_N, np.minimum(weights_N, cap))


def snips(units_N: Ints, rewards_N: Doubles, weights_N: Doubles) -> Sums:
    """Self-normalised IPS: weights that don't average to 1 by chance do no harm."""
    return _sums(units_N, weights_N * rewards_N, weights_N)


def direct(units_N: Ints, expected_N: Doubles) -> Sums:
    """Direct method: `expected_N` is E_π[q(x, ·)], what the model says of the policy.

    Its intervals tell how people differ, not how wrong the model is: they are too narrow.
    """
    return _sums(units_N, expected_N, np.ones_like(expected_N))


def doubly_robust(
    units_N: Ints,
    rewards_N: Doubles,
    weights_N: Doubles,
    expected_N: Doubles,
    predicted_N: Doubles,
) -> Sums:
    """Doubly robust: unbiased if either the propensities or the model are right.

    Args:
        units_N: whose each impression is.
        rewards_N: what came of it.
        weights_N: π(a|x) / π₀(a|x).
        expected_N: E_π[q(x, ·)].
        predicted_N: q(x, a) of what was shown. The model must not have been fitted on the same
            impressions (see `reward_model.py`).
    """
    terms = expected_N + weights_N * (rewards_N - predicted_N)
    return _sums(units_N, terms, np.ones_like(terms))


def on_policy(units_N: Ints, rewards_N: Doubles) -> Sums:
    """What the logging policy itself earned: the plain mean."""
    return _sums(units_N, rewards_N, np.ones_like(rewards_N))


def _sums(units_N: Ints, above_N: Doubles, below_N: Doubles) -> Sums:
    count = int(units_N.max()) + 1 if len(units_N) else 0
    return Sums(
        np.bincount(units_N, above_N, minlength=count).astype(np.float64),
        np.bincount(units_N, below_N, minlength=count).astype(np.float64),
    )
