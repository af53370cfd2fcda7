"""Comparing rates where people come back: the user is the unit, however many requests one makes.

A user's requests are alike, so they are not independent evidence: with sticky users, a test that
counts requests calls a third of all equal candidates bad. The delta method takes the variance of a
ratio of sums over users (Deng, Knoblich & Lu 2018, "Applying the delta method in metric
analytics"). The arms are compared within each step and the steps averaged, because level and share
change from step to step; a user's parts in all steps, and in both arms if a larger share has moved
them, are added before they are squared, so what they have in common is accounted for.

`evidence` then turns an estimate into an e-value that may be looked at as often as one likes: the
mixture sequential probability ratio test (Robbins 1970; Johari et al. 2022, "Always valid
inference"), one-sided, over effects of two sizes. It rests on means over users being normal,
so the callers ask for users and events enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Sizes of effect (absolute) that the mixture expects: of errors, and of hits. Two, so that nobody
# has to say in advance how large an effect would be; they cost log(2) of evidence at most.
_SCALES = np.array([0.002, 0.02])
_BISECTIONS = 30


@dataclass(frozen=True)
class Cells:
    """Sums of each user's requests, one row per user, step and arm (C rows).

    Attributes:
        user: codes from 0, (C,).
        step: index of the step, (C,).
        candidate: whether the row is of the candidate's arm, (C,).
        counted: requests that count, (C,).
        events: those among them of which the rate is, (C,).
    """

    user: Integers
    step: Integers
    candidate: NDArray[np.bool_]
    counted: Floats
    events: Floats

    @classmethod
    def of(
        cls, user: Integers, step: Integers, candidate: NDArray[np.bool_], event: NDArray[np.bool_]
    ) -> Cells:
        """Sum up requests, (N,) each."""
        if not len(user):
            none = np.zeros(0)
            codes = np.zeros(0, np.int64)
            return cls(codes, codes, np.zeros(0, bool), none, none)
        steps = int(step.max()) + 1
        key = (user * steps + step) * 2 + candidate
        found, row = np.unique(key, return_inverse=True)
        counted = np.bincount(row, minlength=len(found)).astype(np.float64)
        events = np.bincount(row, event, len(found)).astype(np.float64)
        pair = found // 2
        return cls(
            pair // steps,
            pair % steps,
            found % 2 == 1,
            np.asarray(counted, np.float64),
            np.asarray(events, np.float64),
        )

    @classmethod
    def alone(cls, user: Integers, value: Floats) -> Cells:
        """Sum up requests of one arm in one step, (N,) each; `events` sums the values."""
        _, row = np.unique(user, return_inverse=True)
        counted = np.bincount(row).astype(np.float64)
        none = np.zeros(len(counted), np.int64)
        events = np.asarray(np.bincount(row, value), np.float64)
        return cls(np.arange(len(counted)), none, none > 0, np.asarray(counted), events)


@dataclass(frozen=True)
class Estimate:
    """Candidate's rate minus `kept` times the stable arm's, compared within steps.

    Attributes:
        difference: the estimate.
        variance: of it, over users; 0 where nothing can be told.
        stable: rate of the stable arm, in the weights of the comparison; NaN without any.
        candidate: rate of the candidate's arm, likewise.
        expected: events that the arm with fewer would have at the common rate.
    """

    difference: float
    variance: float
    stable: float
    candidate: float
    expected: float


def compare(cells: Cells, kept: float = 1.0) -> Estimate:
    """Estimate the difference of both arms' rates, with its variance over users.

    The variance is the delta method's, and at least what independent requests at the common rate
    would have: an arm without a single event has no spread of its own, but no certainty either.

    Args:
        cells: of the steps in which both arms were served; steps with one arm are left out.
        kept: factor on the stable arm's rate.
    """
    steps = int(cells.step.max()) + 1 if len(cells.step) else 0
    arm = cells.candidate.astype(np.int64)
    place = cells.step * 2 + arm
    counted_S2 = np.bincount(place, cells.counted, 2 * steps).reshape(steps, 2)
    events_S2 = np.bincount(place, cells.events, 2 * steps).reshape(steps, 2)
    both_S: NDArray[np.bool_] = np.all(counted_S2 > 0, axis=1)
    if not both_S.any():
        nothing = float("nan")
        return Estimate(0.0, 0.0, nothing, nothing, 0.0)
    safe_S2 = np.where(both_S[:, None], counted_S2, 1.0)
    rate_S2 = np.where(both_S[:, None], events_S2 / safe_S2, 0.0)
    # Mantel-Haenszel weights: the information that a step holds, whatever its outcome.
    weight_S = np.where(both_S, safe_S2.prod(axis=1) / safe_S2.sum(axis=1), 0.0)
    weight_S = weight_S / weight_S.sum()
    stable, candidate = (float(rate) for rate in weight_S @ rate_S2)
    sign_2 = np.array([-kept, 1.0])
    residual = cells.events - rate_S2.ravel()[place] * cells.counted
    pull = sign_2[arm] * weight_S[cells.step] * residual / safe_S2.ravel()[place]
    users = np.unique(cells.user[both_S[cells.step]], return_inverse=True)
    per_user = np.bincount(users[1], pull[both_S[cells.step]])
    clustered = float(per_user @ per_user) * len(per_user) / max(len(per_user) - 1, 1)
    common_S = np.where(both_S, events_S2.sum(axis=1) / safe_S2.sum(axis=1), 0.0)
    independent = weight_S**2 * common_S * (1 - common_S) @ (sign_2**2 / safe_S2).sum(axis=1)
    expected = float(min((common_S[:, None] * counted_S2)[both_S].sum(axis=0)))
    difference = candidate - kept * stable
    return Estimate(difference, max(clustered, float(independent)), stable, candidate, expected)


def evidence(difference: Any, variance: Any, null: float = 0.0) -> Floats:
    """Evidence against "the difference is at most `null`", for any number of looks.

    The mixture of the likelihood ratios over larger differences, weighted by half a normal
    distribution of each of two scales.

    Args:
        difference: estimates, any shape.
        variance: of each, the same shape; 0 is no evidence.
        null: in (-1, 1).

    Returns:
        log e-values of the arguments' shape.
    """
    z, v = np.broadcast_arrays(np.asarray(difference, float) - null, np.asarray(variance, float))
    told = v > 0
    v = np.where(told, v, 1.0)[..., None]
    z = z[..., None]
    total = v + _SCALES**2
    logs = (
        math.log(2)
        + 0.5 * np.log(v / total)
        + _SCALES**2 * z**2 / (2 * v * total)
        + log_ndtr(z * _SCALES / np.sqrt(v * total))
    )
    mixed = logsumexp(logs, axis=-1) - math.log(len(_SCALES))
    return np.asarray(np.where(told, mixed, 0.0))


def interval(estimate: Estimate, alpha: float) -> tuple[float, float]:
    """A confidence sequence for the difference; each end errs with chance alpha at most.

    Args:
        estimate: of a difference.
        alpha: chance that an end is ever wrong, for each end alone.

    Returns:
        lower and upper end, within [-1, 1].
    """
    if not estimate.variance:
        return -1.0, 1.0
    reach = float(_reach(np.array(estimate.variance), alpha))
    return max(estimate.difference - reach, -1.0), min(estimate.difference + reach, 1.0)


def variance_of_rate(cells: Cells) -> float:
    """Return the variance of one arm's rate, over users.

    Args:
        cells: of that arm, as `Cells.alone` makes them; not empty.
    """
    total, users = float(cells.counted.sum()), len(cells.user)
    rate = float(cells.events.sum()) / total
    residual = cells.events - rate * cells.counted
    clustered = float(residual @ residual) / total**2 * users / max(users - 1, 1)
    # Of no event, or of nothing but events, no more is known than of one.
    inside = min(max(rate, 1 / (total + 2)), 1 - 1 / (total + 2))
    return max(clustered, inside * (1 - inside) / total)


def reaches(variance: Any, alpha: float) -> Floats:
    """Return half the widths of confidence sequences for rates, 1 at most.

    Args:
        variance: of the rates, any shape.
        alpha: chance that an end is ever wrong, for each end alone.
    """
    return np.asarray(np.minimum(_reach(np.asarray(variance, float), alpha), 1.0))


def _reach(variance: Floats, alpha: float) -> Floats:
    """Return how far a difference must lie above the null to refute it."""
    low = np.zeros(variance.shape)
    high = np.sqrt(variance) * 40 + 1e-12
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        refuted = evidence(middle, variance) >= math.log(1 / alpha)
        high = np.where(refuted, middle, high)
        low = np.where(refuted, low, middle)
    return np.asarray(high)
