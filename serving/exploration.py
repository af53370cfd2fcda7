"""The policy that fills a list: mostly the best items in order, sometimes a draw from the best.

With M candidates (the best ones the ranker found), k places and epsilon ε:

    with probability 1 - ε   the k best, in order ("greedy")
    with probability ε       k of the M, every ordered choice equally likely

A whole list is greedy or drawn, so both probabilities that the log needs are exact and cheap:

    marginal     P(item i at place j)          = ε / M + (1 - ε) [i is the j-th best]
    conditional  P(item i at place j | places 1 … j-1)
                 = P(greedy | above) [i is the j-th best] + P(drawn | above) / (M - j + 1)

where P(greedy | above) is Bayes' rule on the places above: 0 as soon as one of them isn't as in
the greedy list. The product of the conditionals is the probability of the whole list.

Every candidate is at every place with probability ε / M or more, so a policy that fills places by
itself (`recommender/evaluation/logged.py`) has finite weights. Mixing place by place (a
Plackett-Luce draw, or ε-greedy per place) has conditionals as exact, but its marginals beyond the
first place are sums over all orders.

Shape letters: M candidates, K places filled.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recommender.config.exploration import ExplorationConfig

GREEDY = "greedy"
"""The policy of a list that could not have been another one."""


class Chosen(NamedTuple):
    """What is shown, place by place.

    Attributes:
        positions: which of the given scores, (K,).
        propensities: of each given those above it, (K,).
        marginals: of each at its place, whatever the others hold, (K,).
    """

    positions: NDArray[np.int64]
    propensities: NDArray[np.float64]
    marginals: NDArray[np.float64]


class Exploration:
    """Fills lists, and knows with which probability it fills them so. Holds no state.

    Args:
        config: how often and from how many.
    """

    def __init__(self, config: ExplorationConfig) -> None:
        self._epsilon = config.epsilon
        self._pool = config.pool

    @property
    def name(self) -> str:
        """The policy, as the log calls it."""
        if not self._epsilon:
            return GREEDY
        return f"uniform-list epsilon={self._epsilon:g} pool={self._pool}"

    def candidates(self, k: int) -> int:
        """Return how many scores `choose` needs for a list of k."""
        return max(k, self._pool) if self._epsilon else k

    def choose(self, scores: ArrayLike, k: int, random: Random) -> Chosen:
        """Fill k places.

        Args:
            scores: of the candidates; those at infinity or NaN are none. Of equal ones the first
                is the better.
            k: places; where there are fewer candidates, fewer are filled.
            random: where chance comes from (`seeded`).

        Raises:
            ValueError: k is less than 1.
        """
        if k < 1:
            raise ValueError(f"a list of {k} places can't be filled")
        given = np.asarray(scores, np.float64)
        usable = np.flatnonzero(np.isfinite(given))
        best = usable[np.argsort(-given[usable], kind="stable")][: self.candidates(k)]
        count, places = len(best), min(k, len(best))
        if not places:
            nothing = np.zeros(0)
            return Chosen(np.zeros(0, np.int64), nothing, nothing)
        epsilon = self._epsilon if count > 1 else 0.0
        if random.random() < epsilon:
            order = np.array(random.sample(range(count), places))
            return Chosen(best[order], *_probabilities(order, count, epsilon))
        return Chosen(best[:places], *_greedy(places, count, epsilon))


def seeded(request: str) -> Random:
    """Return the chance of one request: the same request draws the same list."""
    digest = hashlib.blake2b(request.encode(), digest_size=16).digest()
    return Random(int.from_bytes(digest, "little"))  # noqa: S311 - nobody's secret


def certain(count: int) -> Chosen:
    """Return a list of all that is given, in its order, which could not have been another one."""
    return Chosen(np.arange(count), np.ones(count), np.ones(count))


def list_probability(order: Sequence[int], candidates: int, epsilon: float) -> float:
    """Return the probability of a whole list.

    Args:
        order: the rank of the item at each place, 0 the best.
        candidates: M.
        epsilon: share of lists that are drawn.
    """
    drawn = math.exp(math.lgamma(candidates - len(order) + 1) - math.lgamma(candidates + 1))
    return epsilon * drawn + (1 - epsilon) * (list(order) == list(range(len(order))))


@lru_cache(maxsize=1024)
def _greedy(
    places: int, candidates: int, epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of the best in order, which is what most lists are."""
    found = _probabilities(np.arange(places), candidates, epsilon)
    for column in found:
        column.setflags(write=False)
    return found


def _probabilities(
    order: NDArray[np.int64], candidates: int, epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return conditionals and marginals, (K,) each, of ranks `order`."""
    places = np.arange(len(order))
    in_order = order == places
    so_far = np.concatenate([[True], np.cumprod(in_order[:-1]).astype(bool)])
    left = candidates - places
    # Of the lists that begin as this one: how likely the draw gave this beginning.
    beginning = np.concatenate([[1.0], np.cumprod(1.0 / left[:-1])])
    greedy = np.where(so_far, (1 - epsilon) / ((1 - epsilon) + epsilon * beginning), 0.0)
    conditional = greedy * in_order + (1 - greedy) / left
    marginal = epsilon / candidates + (1 - epsilon) * in_order
    return conditional, marginal
