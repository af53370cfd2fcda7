"""What happened in the simulated world, day by day.

Shape letters: U people, K places, T days, N lists.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.long_term.policies import Doubles, Ints, Shown


@dataclass
class Journal:
    """What happened, day by day, in the order of the days.

    Attributes:
        visited: whether a person visited, (T, U).
        alive: whether a person had not left at the start of a day, (T, U).
        clicks, conversions, dislikes: of each person on each day, (T, U).
        satisfaction: of each person at the end of each day, (T, U).
        people, days: of each list shown, (N,).
        shown, propensities, clicked, bought, disliked: each list, (N, K).
        own: the policy that filled each list, as given to `World.run`, (N,).
    """

    visited: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    clicks: Ints
    conversions: Ints
    dislikes: Ints
    satisfaction: Doubles
    people: Ints
    days: Ints
    shown: Ints
    propensities: Doubles
    clicked: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    disliked: NDArray[np.bool_]
    own: Ints


@dataclass(frozen=True)
class Lists:
    """What one policy showed on a day, and what came of it; as in `Journal`."""

    own: int
    people: Ints
    lists: Shown
    clicked: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    disliked: NDArray[np.bool_]


@dataclass(frozen=True)
class Day:
    """One day of the world; as in `Journal`."""

    day: int
    alive: NDArray[np.bool_]
    visitors: Ints
    satisfaction: Doubles
    shown: list[Lists]


def journal_of(days: list[Day], people: int) -> Journal:
    """Put days together.

    Args:
        days: in their order.
        people: U.
    """
    visited = np.zeros((len(days), people), bool)
    clicks = np.zeros((len(days), people), np.int64)
    conversions = np.zeros((len(days), people), np.int64)
    dislikes = np.zeros((len(days), people), np.int64)
    for row, day in enumerate(days):
        visited[row, day.visitors] = True
        for part in day.shown:
            clicks[row, part.people] = part.clicked.sum(axis=1)
            conversions[row, part.people] = part.bought.sum(axis=1)
            dislikes[row, part.people] = part.disliked.sum(axis=1)
    lists = [(day.day, part) for day in days for part in day.shown]
    return Journal(
        visited=visited,
        alive=np.stack([day.alive for day in days]),
        clicks=clicks,
        conversions=conversions,
        dislikes=dislikes,
        satisfaction=np.stack([day.satisfaction for day in days]),
        people=_joined([part.people for _, part in lists]),
        days=_joined([np.full(len(part.people), day) for day, part in lists]),
        shown=_joined([part.lists.items for _, part in lists]),
        propensities=_joined([part.lists.propensities for _, part in lists]),
        clicked=_joined([part.clicked for _, part in lists]),
        bought=_joined([part.bought for _, part in lists]),
        disliked=_joined([part.disliked for _, part in lists]),
        own=_joined([np.full(len(part.people), part.own) for _, part in lists]),
    )


def _joined(parts: list[NDArray]) -> NDArray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
