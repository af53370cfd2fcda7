"""Evidence that may be looked at as often as one likes: e-processes and confidence sequences.

A canary is looked at again and again, and it stops on what it sees. A test that keeps its promise
for one look breaks it then: a z-test once a minute calls a third of all equal candidates bad. An
*e-process* is a running product that starts at 1 and is not expected to grow while the null
hypothesis holds; by Ville's inequality the chance that it **ever** reaches 1 / α is at most α
(Howard et al. 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences"). So
nothing here counts looks, and the bounds hold for thirty users as for thirty thousand.

All values are natural logarithms of e-values: `math.log(1 / alpha)` is where a null falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincc, betaln

Floats = NDArray[np.float64]

# Jeffreys' prior for the mixture over a single rate.
_HALF = 0.5
# Prior counts of the running estimates in the two-sample test, near the minimax regret of the
# Bernoulli model (Turner, Ly & Grünwald 2024, section 4).
_PRIOR = 0.18
_BISECTIONS = 40


def rate_above(successes: Any, trials: Any, limit: float) -> Floats:
    """Evidence against "the rate is at most `limit`", for any number of looks.

    The mixture of likelihood ratios p / limit over p > limit, weighted by Jeffreys' prior cut off
    at the limit; each of them is a supermartingale where the null holds, hence so is the mixture.

    Args:
        successes: counts, any shape.
        trials: of each count, the same shape.
        limit: in [0, 1]; against 0 a single success is proof, and against 1 there is none.

    Returns:
        log e-values of the arguments' shape.
    """
    x, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    if limit >= 1:
        return np.zeros(x.shape)
    if limit <= 0:
        return np.where(x > 0, np.inf, 0.0)
    with np.errstate(divide="ignore"):
        mixture = betaln(x + _HALF, n - x + _HALF) + np.log(
            betaincc(x + _HALF, n - x + _HALF, limit)
        )
    whole = betaln(_HALF, _HALF) + np.log(betaincc(_HALF, _HALF, limit))
    null = x * np.log(limit) + (n - x) * np.log1p(-limit)
    return np.asarray(mixture - whole - null)


def rate_other(successes: Any, trials: Any, rate: float) -> Floats:
    """Evidence against "the rate is `rate`", either way, for any number of looks.

    Jeffreys' mixture again, over all rates; for the shares of an experiment's arms this is the
    sequential test of Lindon & Malek (2022, "Anytime-valid inference for multinomial count data").

    Args:
        successes: counts, any shape.
        trials: of each count, the same shape.
        rate: in [0, 1]; against 0 and 1 a single exception is proof.

    Returns:
        log e-values of the arguments' shape.
    """
    x, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    return _mixture(x, n) - _likelihood(x, n, np.full(x.shape, float(rate)))


def rate_interval(successes: Any, trials: Any, alpha: float) -> tuple[Floats, Floats]:
    """A confidence sequence for a rate: with chance 1 - alpha it covers the truth at every look.

    Args:
        successes: counts, any shape.
        trials: of each count, the same shape.
        alpha: chance of ever missing.

    Returns:
        lower and upper ends, of the arguments' shape; [0, 1] where there are no trials.
    """
    x, n = np.broadcast_arrays(np.asarray(successes, float), np.asarray(trials, float))
    mixture = _mixture(x, n)
    centre = np.where(n > 0, x / np.maximum(n, 1), 0.5)

    def refutes(rate: Floats) -> Any:
        return mixture - _likelihood(x, n, rate) >= np.log(1 / alpha)

    ends = []
    for extreme in (np.zeros(x.shape), np.ones(x.shape)):
        outside, inside = extreme.copy(), centre.copy()
        for _ in range(_BISECTIONS):
            middle = (outside + inside) / 2
            refuted = refutes(middle)
            outside = np.where(refuted, middle, outside)
            inside = np.where(refuted, inside, middle)
        # Where even the extreme is not refuted, it is the end.
        ends.append(np.where(refutes(extreme), outside, extreme))
    return ends[0], ends[1]


def _mixture(x: Floats, n: Floats) -> Floats:
    """Return the log likelihood of the counts, averaged over Jeffreys' prior."""
    return np.asarray(betaln(x + _HALF, n - x + _HALF) - betaln(_HALF, _HALF))


def _likelihood(x: Floats, n: Floats, rate: Floats) -> Floats:
    """Return the log likelihood of the counts at a rate; -inf where they are impossible."""
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(x > 0, x * np.log(rate), 0)
        misses = np.where(n > x, (n - x) * np.log1p(-rate), 0)
    return np.asarray(hits + misses)


def quantile_bounds(values: Floats, quantile: float, alpha: float) -> tuple[float, float]:
    """Bounds of a quantile from order statistics alone, for any number of looks.

    Whatever the distribution, the number of values below its `quantile` is binomial; where that
    number would be refuted, the order statistic bounds the quantile.

    Args:
        values: observations, (N,), in any order.
        quantile: in (0, 1).
        alpha: chance that either end is ever wrong, for each end alone.

    Returns:
        lower end (0 where there is too little data, for values that can't be negative) and upper
        end (inf where there is too little data).
    """
    ordered = np.sort(values)
    n = len(ordered)
    counts = np.arange(n + 1)
    proof = np.log(1 / alpha)
    few = np.flatnonzero(rate_above(n - counts, np.full(n + 1, n), 1 - quantile) >= proof)
    many = np.flatnonzero(rate_above(counts, np.full(n + 1, n), quantile) >= proof)
    # With that few values below it being impossible, the next one lies below the quantile.
    lower = float(ordered[few[-1]]) if len(few) and few[-1] < n else 0.0
    upper = float(ordered[many[0] - 1]) if len(many) and many[0] > 0 else float("inf")
    return lower, upper


@dataclass(frozen=True)
class Block:
    """Some users of both arms, looked at together.

    Attributes:
        stable: hits and users of the stable arm.
        candidate: hits and users of the candidate's arm.
    """

    stable: tuple[int, int]
    candidate: tuple[int, int]


def blocks(arms: Sequence[bool], hits: Sequence[bool]) -> list[Block]:
    """Cut a stream of users into the smallest blocks that hold users of both arms.

    Where a block ends depends on the arms alone and never on the hits, as the test demands. Users
    after the last full block wait for the next look.

    Args:
        arms: whether each user was the candidate's, in the order in which they came.
        hits: whether each user was hit.
    """
    found: list[Block] = []
    counts = [[0, 0], [0, 0]]
    for candidate, hit in zip(arms, hits, strict=True):
        counts[candidate][0] += hit
        counts[candidate][1] += 1
        if counts[0][1] and counts[1][1]:
            found.append(Block((counts[0][0], counts[0][1]), (counts[1][0], counts[1][1])))
            counts = [[0, 0], [0, 0]]
    return found


def closest(stable: Any, candidate: Any, users: tuple[Any, Any], differences: Any) -> Floats:
    """Find the pair of rates with a given difference that is nearest to two given rates.

    Nearest by the Kullback-Leibler divergence, weighted by the number of users; it is also the
    maximum-likelihood estimate under the constraint. All arguments broadcast.

    Args:
        stable: rates of the stable arm, strictly between 0 and 1.
        candidate: rates of the candidate's arm, likewise.
        users: of the stable and of the candidate's arm.
        differences: candidate minus stable that the pair must have, in (-1, 1).

    Returns:
        the stable arm's rate in each pair; the candidate's is that plus the difference.
    """
    if not np.any(differences):
        # Equal rates: the mean of both, weighted by the users.
        return np.asarray((users[0] * stable + users[1] * candidate) / (users[0] + users[1]))
    low = np.maximum(0.0, -differences) + 0.0 * stable
    high = np.minimum(1.0, 1.0 - differences) + 0.0 * stable
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            other = middle + differences
            slope = users[0] * (middle - stable) / (middle * (1 - middle)) + users[1] * (
                other - candidate
            ) / (other * (1 - other))
            left = slope < 0
            low = np.where(left, middle, low)
            high = np.where(left, high, middle)
    return np.asarray((low + high) / 2)


def worse_by(stream: Sequence[Block], differences: Any) -> Floats:
    """Evidence against "candidate minus stable is at least d", for each d and any number of looks.

    The e-process of Turner, Ly & Grünwald (2024, "Generic E-variables for exact sequential
    k-sample tests that allow for optional stopping"). In each block it bets on the rates that
    the blocks before suggest, against the nearest rates that the null allows. For a convex null
    the factor's expectation is at most 1 whatever the true rates are, even if they change from
    block to block: so steps with different shares, loads and hours are pooled without bias.

    Args:
        stream: M blocks in the order in which they came.
        differences: the d's, in (-1, 1), (D,).

    Returns:
        the largest log e-value reached so far, (D,); 0 where nothing speaks against the null.
    """
    d_D = np.atleast_1d(np.asarray(differences, float))
    if not stream:
        return np.zeros(len(d_D))
    hits_M2 = np.array([(block.stable[0], block.candidate[0]) for block in stream], float)
    users_M2 = np.array([(block.stable[1], block.candidate[1]) for block in stream], float)
    # What the blocks before suggest; the first bets on equal rates, that is on nothing.
    rates_M2 = (_before(hits_M2) + _PRIOR) / (_before(users_M2) + 2 * _PRIOR)
    stable_M1, candidate_M1 = rates_M2[:, :1], rates_M2[:, 1:]
    sizes = (users_M2[:, :1], users_M2[:, 1:])
    null_MD = closest(stable_M1, candidate_M1, sizes, d_D)
    factor_MD = _gain(hits_M2[:, :1], sizes[0], stable_M1, null_MD)
    factor_MD = factor_MD + _gain(hits_M2[:, 1:], sizes[1], candidate_M1, null_MD + d_D)
    bets_MD = d_D > candidate_M1 - stable_M1
    path_MD = np.cumsum(np.where(bets_MD, factor_MD, 0.0), axis=0)
    return np.asarray(np.maximum(path_MD.max(axis=0), 0.0))


def _before(counts: Floats) -> Floats:
    """Return the sums of the rows before each row."""
    return np.cumsum(counts, axis=0) - counts


def _gain(hits: Floats, users: Floats, rate: Floats, null: Floats) -> Floats:
    """Return the log likelihood ratio of a rate over the null's."""
    null = np.clip(null, 1e-12, 1 - 1e-12)
    return np.asarray(hits * np.log(rate / null) + (users - hits) * np.log((1 - rate) / (1 - null)))


def difference_interval(stream: Sequence[Block], alpha: float) -> tuple[float, float]:
    """A confidence sequence for candidate minus stable; each end errs with chance alpha at most.

    Args:
        stream: blocks in the order in which they came.
        alpha: chance that an end is ever wrong, for each end alone.

    Returns:
        lower and upper end, within [-1, 1], rounded outwards to a thousandth.
    """
    mirrored = [Block(block.candidate, block.stable) for block in stream]
    return -_highest(mirrored, alpha), _highest(stream, alpha)


def _highest(stream: Sequence[Block], alpha: float) -> float:
    """Return the least difference from which on every larger one is refuted; 1 if there's none."""
    top, step = -1.0, 2.0
    for finer in (0.1, 0.01, 0.001):
        grid = top + finer * np.arange(1, round(step / finer))
        kept = np.flatnonzero(worse_by(stream, grid) < np.log(1 / alpha))
        top, step = (float(grid[kept[-1]]) if len(kept) else top), finer
    return min(top + step, 1.0)
