"""What a policy is asked in the simulated world and what it answers; and some policies.

Shape letters: B visitors, I items, D topics, K places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Histories
from recommender.ranking import Scores

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


class Policy(Protocol):
    """What fills the places."""

    def lists(self, visits: Visits, rng: np.random.Generator) -> Shown:
        """Choose a list for each visitor."""
        ...


@dataclass(frozen=True)
class Visits:
    """What a policy may know of today's visitors: their clicks, never their minds.

    Attributes:
        people: rows, (B,).
        histories: their clicks so far (actions 1 = click, 2 = conversion).
        day: 0 …
    """

    people: Ints
    histories: Histories
    day: int


@dataclass(frozen=True)
class Shown:
    """Lists and how they came about.

    Attributes:
        items: rows of items, best first, (B, K).
        propensities: the chance of each item at its place, given those above, (B, K).
    """

    items: Ints
    propensities: Doubles


@dataclass(frozen=True)
class Sampled:
    """Draws lists without replacement, items by the softmax of their scores (Plackett–Luce).

    Attributes:
        scorer: any recommender.
        places: K.
        temperature: towards 0 the best come first always; the larger, the more is tried out. It
            is in standard deviations of a visitor's scores, so it means the same for any scorer.
    """

    scorer: Scores
    places: int = 5
    temperature: float = 0.2

    def lists(self, visits: Visits, rng: np.random.Generator) -> Shown:
        """Choose a list for each visitor."""
        scores_BI = standardised(self.scorer.scores(visits.histories))
        return plackett_luce(scores_BI / self.temperature, self.places, rng)


def standardised(scores_BI: NDArray[np.float32]) -> Doubles:
    """Return each visitor's scores with mean 0 and deviation 1."""
    scores = scores_BI.astype(np.float64)
    spread_B1 = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.maximum(spread_B1, 1e-12))


def plackett_luce(logits_BI: Doubles, places: int, rng: np.random.Generator) -> Shown:
    """Draw lists without replacement; the Gumbel trick (Vieira 2014; Kool et al. 2019)."""
    noise = rng.gumbel(size=logits_BI.shape)
    items_BK = np.argsort(-(logits_BI + noise), axis=1)[:, :places]
    return Shown(items_BK, list_propensities(logits_BI, items_BK))


def list_propensities(logits_BI: Doubles, items_BK: Ints) -> Doubles:
    """Return the chance of each item at its place, given those above it, (B, K)."""
    weight_BI = np.exp(logits_BI - logits_BI.max(axis=1, keepdims=True))
    chosen_BK = np.take_along_axis(weight_BI, items_BK, axis=1)
    before_BK = np.cumsum(chosen_BK, axis=1) - chosen_BK
    left_BK = weight_BI.sum(axis=1, keepdims=True) - before_BK
    return np.asarray(chosen_BK / left_BK)


@dataclass(frozen=True)
class TopicTaste:
    """Scores items by how near they are to what a visitor clicked, and by general quality.

    Attributes:
        topics: of the items, (I, D).
        quality: what is known of each item's quality, (I,).
        variety: what is taken off for nearness to the last clicks: 0 serves more of the same.
        recent: clicks that count as the last ones.
    """

    topics: Doubles
    quality: Doubles
    variety: float = 0.0
    recent: int = 5

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """Score every item for every history, (B, I)."""
        position_T = np.arange(len(histories.items))
        last_T = np.repeat(histories.offsets[1:], histories.lengths) - position_T <= self.recent
        row_T = np.repeat(np.arange(len(histories)), histories.lengths)
        taste_BD = np.zeros((len(histories), self.topics.shape[1]))
        np.add.at(taste_BD, row_T, self.topics[histories.items])
        latest_BD = np.zeros_like(taste_BD)
        np.add.at(latest_BD, row_T[last_T], self.topics[histories.items[last_T]])
        wanted_BD = _direction(taste_BD) - self.variety * _direction(latest_BD)
        return (wanted_BD @ self.topics.T + self.quality).astype(np.float32)


def _direction(vectors_BD: Doubles) -> Doubles:
    length = np.linalg.norm(vectors_BD, axis=1, keepdims=True)
    return np.asarray(vectors_BD / np.maximum(length, 1e-12))
