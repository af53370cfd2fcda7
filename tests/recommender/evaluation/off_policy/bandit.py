"""A synthetic bandit whose truth is known: people of several kinds, items, and two policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Bandit:
    """C kinds of people, A items.

    Attributes:
        click_CA: the probability of a click.
        logging_CA: the policy that serves.
        target_CA: the policy that is asked about.
    """

    click_CA: Doubles
    logging_CA: Doubles
    target_CA: Doubles

    @property
    def value(self) -> float:
        """What the target policy earns in truth; kinds of people are equally frequent."""
        return float((self.target_CA * self.click_CA).sum(axis=1).mean())

    @property
    def logged_value(self) -> float:
        return float((self.logging_CA * self.click_CA).sum(axis=1).mean())

    def log(self, people: int, each: int, seed: int) -> tuple[Ints, Ints, Ints, Doubles]:
        """Return people, kinds, items and clicks of `people × each` impressions."""
        rng = np.random.default_rng(seed)
        kinds = np.repeat(rng.integers(0, len(self.click_CA), people), each)
        draws = rng.random((people * each, 1))
        items = (draws > np.cumsum(self.logging_CA, axis=1)[kinds]).sum(axis=1)
        clicks = (rng.random(people * each) < self.click_CA[kinds, items]).astype(float)
        return np.repeat(np.arange(people), each), kinds, items, clicks


def bandit(kinds: int = 3, items: int = 6, seed: int = 0, sharpness: float = 1.0) -> Bandit:
    """Return a bandit with random policies; the larger the sharpness, the less they overlap."""
    rng = np.random.default_rng(seed)

    def policy() -> Doubles:
        odds = np.exp(rng.normal(0, sharpness, (kinds, items)))
        return odds / odds.sum(axis=1, keepdims=True)

    return Bandit(rng.uniform(0.05, 0.5, (kinds, items)), policy(), policy())
