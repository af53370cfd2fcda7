"""Simulated people who get tired of more of the same: a world in which the long term is known.

What is true of a person on a day, and decides what they do:

    interest    a point in topic space that drifts as a random walk
    satiation   rises with every click on a topic, decays with rest
    boredom     rises with every showing of an item, decays with rest
    utility     of an item: topic · (interest − satiation) + quality − boredom
    click       a place is looked at with 1 / log2(place + 1), a seen item clicked with
                sigmoid(steepness · (utility − threshold)), a click converts likewise, more rarely
    dislike     a seen item that isn't clicked is disliked with sigmoid(steepness · (dislike
                threshold − utility)): a sign of displeasure, not a cause of it
    satisfaction moves towards the utility of what was clicked, or down after a visit for nothing
    visit       tomorrow's chance is a sigmoid of satisfaction
    churn       at the end of a visit with a chance that falls with satisfaction; for good

In the manner of RecSim (Ie et al. 2019) and of Kaminskas-style satiation models; the form is ours
and the numbers are assumptions, so its results show what estimators can and can't see, not what a
given shop will earn.

Shape letters: U people, I items, D topics, B people who visit today, K places, T days.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.long_term.journal import Day, Journal, Lists, journal_of
from recommender.evaluation.long_term.policies import Doubles, Ints, Policy, Shown, Visits
from recommender.features.sequences import Histories

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Habits:
    """How people of the simulated world are.

    Attributes:
        drift: step of the daily random walk of interests.
        satiation: what a click adds to a topic's satiation.
        rest: share of satiation and boredom that is gone after a day.
        boredom: what a showing adds to an item's boredom.
        steepness: of the chance of a click over utility.
        click_threshold: utility at which a seen item is clicked every second time.
        buy_threshold: utility at which a click converts every second time.
        dislike_threshold: utility at which a seen item that isn't clicked is disliked every second
            time.
        memory: weight of today's visit in satisfaction.
        visit_bias: log odds of a visit at satisfaction 0.
        visit_pull: what a unit of satisfaction adds to them.
        churn: chance of leaving for good after a visit at satisfaction 0.
        churn_pull: how fast that falls with satisfaction.
    """

    drift: float = 0.08
    satiation: float = 0.35
    rest: float = 0.15
    boredom: float = 0.15
    steepness: float = 4.0
    click_threshold: float = 0.9
    buy_threshold: float = 1.5
    dislike_threshold: float = -0.4
    memory: float = 0.25
    visit_bias: float = -1.2
    visit_pull: float = 1.5
    churn: float = 0.03
    churn_pull: float = 2.0


@dataclass
class World:
    """The simulated world. Its state moves on with every day that is run.

    Attributes:
        topics: of the items, each of length 1, (I, D).
        quality: of the items, (I,).
        interest: of the people, each of length 1, (U, D).
        habits: how people are.
        memory_limit: most recent clicks that a history holds.
    """

    topics: Doubles
    quality: Doubles
    interest: Doubles
    habits: Habits = field(default_factory=Habits)
    memory_limit: int = 50

    def __post_init__(self) -> None:
        people, items = len(self.interest), len(self.topics)
        self.day = 0
        self.alive = np.ones(people, bool)
        self.satisfaction = np.zeros(people)
        self.satiation = np.zeros_like(self.interest)
        self.boredom = np.zeros((people, items), np.float32)
        # The latest clicks of each person, oldest first from the right-hand end.
        self._items = np.full((people, self.memory_limit), -1, np.int64)
        self._actions = np.zeros((people, self.memory_limit), np.int8)
        self._times = np.zeros((people, self.memory_limit), np.int64)

    @classmethod
    def populated(
        cls, people: int, items: int, topics: int, seed: int, habits: Habits | None = None
    ) -> World:
        """Return a world of random people and items; the same seed gives the same world."""
        rng = np.random.default_rng(seed)
        flavour = _unit(np.abs(rng.standard_normal((items, topics))) ** 3)
        interest = _unit(np.abs(rng.standard_normal((people, topics))) ** 2)
        return cls(flavour, rng.normal(0, 0.2, items), interest, habits or Habits())

    def run(
        self,
        policies: list[Policy],
        days: int,
        seed: int,
        assigned: Ints | None = None,
    ) -> Journal:
        """Let days pass.

        Args:
            policies: those that serve.
            days: T.
            seed: of chance; two runs from the same state with the same seed differ only by what
                is shown.
            assigned: the row of each person's policy, (U,) or by day (T, U); all by the first
                where it isn't given.
        """
        rng = np.random.default_rng(seed)
        # Dislikes have chances of their own: they tell of the world and don't change it.
        aside = np.random.default_rng([seed, 1])
        people = len(self.interest)
        own = np.broadcast_to(
            np.zeros(people, np.int64) if assigned is None else assigned, (days, people)
        )
        kept: list[Day] = []
        for day in range(days):
            kept.append(self._live(policies, own[day], rng, aside))
        return journal_of(kept, people)

    def _live(
        self,
        policies: list[Policy],
        own_U: Ints,
        rng: np.random.Generator,
        aside: np.random.Generator,
    ) -> Day:
        habits = self.habits
        alive = self.alive.copy()
        # Chance is drawn for everybody, come or not: so it doesn't depend on what was shown.
        chance_U = rng.random(len(alive))
        leave_U = rng.random(len(alive))
        odds = habits.visit_bias + habits.visit_pull * self.satisfaction
        visitors = np.flatnonzero(alive & (chance_U < _sigmoid(odds)))
        parts = []
        for row, policy in enumerate(policies):
            people = visitors[own_U[visitors] == row]
            if len(people):
                seen = Visits(people, self._histories(people), self.day)
                parts.append((row, people, policy.lists(seen, rng)))
        shown = [self._visit(row, people, lists, rng, aside) for row, people, lists in parts]
        hazard = habits.churn * np.exp(-habits.churn_pull * self.satisfaction)
        left = np.zeros(len(alive), bool)
        left[visitors] = leave_U[visitors] < hazard[visitors]
        self.alive &= ~left
        self._sleep(rng)
        return Day(self.day - 1, alive, visitors, self.satisfaction.copy(), shown)

    def _visit(
        self,
        row: int,
        people: Ints,
        lists: Shown,
        rng: np.random.Generator,
        aside: np.random.Generator,
    ) -> Lists:
        habits, items_BK = self.habits, lists.items
        places = items_BK.shape[1]
        mood_BD = self.interest[people] - self.satiation[people]
        utility_BK = np.einsum("bd,bkd->bk", mood_BD, self.topics[items_BK])
        utility_BK += self.quality[items_BK] - self.boredom[people[:, None], items_BK]
        looked_BK = rng.random(items_BK.shape) < 1 / np.log2(np.arange(places) + 2)
        click = _sigmoid(habits.steepness * (utility_BK - habits.click_threshold))
        clicked_BK = looked_BK & (rng.random(items_BK.shape) < click)
        buy = _sigmoid(habits.steepness * (utility_BK - habits.buy_threshold))
        bought_BK = clicked_BK & (rng.random(items_BK.shape) < buy)
        dislike = _sigmoid(habits.steepness * (habits.dislike_threshold - utility_BK))
        disliked_BK = looked_BK & ~clicked_BK & (aside.random(items_BK.shape) < dislike)

        self.satiation[people] += (
            habits.satiation
            * np.einsum("bk,bkd->bd", clicked_BK, self.topics[items_BK])
            / max(places, 1)
        )
        np.add.at(self.boredom, (people[:, None], items_BK), np.float32(habits.boredom))
        count_B = clicked_BK.sum(axis=1)
        felt_B = np.where(
            count_B > 0,
            (utility_BK * clicked_BK).sum(axis=1) / np.maximum(count_B, 1),
            -0.5,
        )
        self.satisfaction[people] += habits.memory * (felt_B - self.satisfaction[people])
        self._remember(people, items_BK, clicked_BK, bought_BK)
        return Lists(row, people, lists, clicked_BK, bought_BK, disliked_BK)

    def _remember(
        self,
        people: Ints,
        items_BK: Ints,
        clicked_BK: NDArray[np.bool_],
        bought_BK: NDArray[np.bool_],
    ) -> None:
        for place in range(items_BK.shape[1]):
            rows = people[clicked_BK[:, place]]
            for kept in (self._items, self._actions, self._times):
                kept[rows, :-1] = kept[rows, 1:]
            self._items[rows, -1] = items_BK[clicked_BK[:, place], place]
            self._actions[rows, -1] = 1 + bought_BK[clicked_BK[:, place], place]
            self._times[rows, -1] = self.day * DAY_MS + place * 60_000

    def _sleep(self, rng: np.random.Generator) -> None:
        self.satiation *= 1 - self.habits.rest
        self.boredom *= np.float32(1 - self.habits.rest)
        step = rng.standard_normal(self.interest.shape) * self.habits.drift
        self.interest = _unit(np.maximum(self.interest + step, 0) + 1e-6)
        self.day += 1

    def _histories(self, people: Ints) -> Histories:
        items_BL = self._items[people]
        known_BL = items_BL >= 0
        lengths = known_BL.sum(axis=1)
        return Histories(
            items=items_BL[known_BL].astype(np.int32),
            actions=self._actions[people][known_BL],
            times=self._times[people][known_BL],
            values=np.full(int(lengths.sum()), np.nan, np.float32),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            now=np.full(len(people), self.day * DAY_MS, np.int64),
        )


def _unit(vectors: Doubles) -> Doubles:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-x)))
