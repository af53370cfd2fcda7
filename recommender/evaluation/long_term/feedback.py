"""Feedback loops: generations of a model, each trained on what its predecessor showed.

People click on what they are shown, so a model that learns from clicks learns its own taste. The
symptom is exposure that collapses onto few items while the measured click rate may even rise
(Chaney, Stewart & Engelhardt 2018; Mansoury et al. 2020). Each generation is described by how
many items are still shown, how unequally, how alike lists are, and how people fare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.long_term.journal import Journal
from recommender.evaluation.long_term.policies import Policy
from recommender.evaluation.long_term.simulator import World
from recommender.evaluation.metrics.exposure import (
    coverage,
    exposure,
    gini,
    intra_list_diversity,
)


@dataclass(frozen=True)
class Generation:
    """How one generation did.

    Attributes:
        number: 0 …
        coverage: share of the catalogue that was shown.
        gini: inequality of exposure.
        diversity: mean distance of two items of a list.
        click_rate: clicks per place shown.
        satisfaction: mean of those who had not left, at the end.
        alive: share of people who had not left, at the end.
    """

    number: int
    coverage: float
    gini: float
    diversity: float
    click_rate: float
    satisfaction: float
    alive: float


def generations(
    world: World,
    first: Policy,
    retrain: Callable[[list[Journal]], Policy],
    *,
    count: int,
    days: int,
    seed: int,
) -> list[Generation]:
    """Run generations one after the other; the world's state moves on.

    Args:
        world: the people.
        first: the policy of generation 0.
        retrain: makes the next policy from all journals so far.
        count: of generations.
        days: that each serves.
        seed: of chance.
    """
    policy, journals, found = first, [], []
    for number in range(count):
        journal = world.run([policy], days, seed + number)
        journals.append(journal)
        found.append(_described(number, journal, world))
        policy = retrain(journals)
    return found


def clicks_of_items(journals: list[Journal], items: int) -> NDArray[np.int64]:
    """Return how often each item was clicked in all journals, (I,)."""
    counts = np.zeros(items, np.int64)
    for journal in journals:
        counts += np.bincount(journal.shown[journal.clicked], minlength=items)
    return counts


def _described(number: int, journal: Journal, world: World) -> Generation:
    shown = exposure(journal.shown, len(world.topics))
    vectors = world.topics.astype(np.float32)
    alive = journal.alive[-1]
    return Generation(
        number,
        coverage(shown),
        gini(shown),
        float(np.nanmean(intra_list_diversity(journal.shown, vectors))),
        float(journal.clicked.mean()),
        float(journal.satisfaction[-1][alive].mean()) if alive.any() else float("nan"),
        float(alive.mean()),
    )
