"""A study in the simulated world: two policies for months, and what each estimator sees of it.

The world is run twice from the same state with the same chance: once with the policy that
serves more of the same, once with one that leaves out what people just had. So the true effect is
known, and every estimator that is used on real logs is asked about it (`estimators.py`).

Shape letters: T days, U people, N lists.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.long_term.estimators import (
    Seen,
    after_a_switch,
    after_an_opt_in,
    mood,
    off_policy,
    proxy_of,
)
from recommender.evaluation.long_term.feedback import (
    Generation,
    clicks_of_items,
    generations,
)
from recommender.evaluation.long_term.journal import Journal
from recommender.evaluation.long_term.policies import (
    Policy,
    Sampled,
    TopicTaste,
)
from recommender.evaluation.long_term.retention import retention
from recommender.evaluation.long_term.simulator import Habits, World
from recommender.evaluation.records import Record
from recommender.features.sequences import Histories

Doubles = NDArray[np.float64]
SAME, VARIED = "more of the same", "with variety"
OFFSETS = (1, 7, 28)
_ITEMS, _TOPICS, _PLACES = 200, 10, 5
_WARM_DAYS = 21
_TEMPERATURE = 0.4
_VARIETY = 0.6


class PolicyPath(Record):
    """How one policy did, day by day.

    Attributes:
        name: of the policy.
        click_rate, conversion_rate, dislike_rate: per place shown, in each week.
        satisfaction: mean of those who had not left, in each week.
        visits: per person and day of all who were there at the start, in each week.
        alive: share who had not left, at the end of each week.
        retention: share back after 1, 7 and 28 days, of those who visited in the first week.
    """

    name: str
    click_rate: tuple[float, ...]
    conversion_rate: tuple[float, ...]
    dislike_rate: tuple[float, ...]
    satisfaction: tuple[float, ...]
    visits: tuple[float, ...]
    alive: tuple[float, ...]
    retention: tuple[float, ...]


class GenerationFacts(Record):
    """One generation of a model that is trained on what its predecessors showed."""

    number: int
    coverage: float
    gini: float
    diversity: float
    click_rate: float
    satisfaction: float
    alive: float


class Study(Record):
    """The whole study."""

    people: int
    days: int
    seed: int
    policies: tuple[PolicyPath, ...]
    seen: tuple[Seen, ...]
    proxy_rank: float
    proxy_repeat_rank: float
    proxy_r2: float
    loops: dict[str, tuple[GenerationFacts, ...]]


def study(people: int = 4000, days: int = 112, seed: int = 7) -> Study:
    """Run everything; about ten seconds for the default size.

    Args:
        people: in the world.
        days: that both policies serve, whole weeks.
        seed: of the world and of chance.
    """
    world = World.populated(people, _ITEMS, _TOPICS, seed)
    same, varied = (
        Sampled(TopicTaste(world.topics, world.quality, variety), _PLACES, _TEMPERATURE)
        for variety in (0.0, _VARIETY)
    )
    world.run([same], _WARM_DAYS, seed + 1)
    paths = {
        name: copy.deepcopy(world).run([policy], days, seed + 2)
        for name, policy in ((SAME, same), (VARIED, varied))
    }
    proxy = proxy_of(paths[SAME])
    return Study(
        people=people,
        days=days,
        seed=seed,
        policies=tuple(_path(name, journal) for name, journal in paths.items()),
        seen=(
            off_policy(world, same, varied, seed),
            after_a_switch(world, same, varied, seed),
            after_an_opt_in(world, same, varied, seed),
        ),
        proxy_rank=proxy.rank,
        proxy_repeat_rank=proxy.repeat_rank,
        proxy_r2=proxy.r2,
        loops={
            "hardly exploring": _loop(0.15, seed),
            "exploring": _loop(1.0, seed),
        },
    )


def _path(name: str, journal: Journal) -> PolicyPath:
    days = len(journal.visited)
    weeks = [range(first, min(first + 7, days)) for first in range(0, days - days % 7, 7)]
    week_N = (journal.days - journal.days.min()) // 7
    shown = [int((week_N == week).sum()) * _PLACES for week in range(len(weeks))]
    there = journal.alive[0]
    first_week = journal.visited[:, journal.visited[:7].any(axis=0)]
    _, back = retention(first_week, OFFSETS, cohort_days=days).overall()

    def rate(counts: NDArray[np.int64]) -> tuple[float, ...]:
        totals = [int(counts[list(week)].sum()) for week in weeks]
        return tuple(total / max(lists, 1) for total, lists in zip(totals, shown, strict=True))

    return PolicyPath(
        name=name,
        click_rate=rate(journal.clicks),
        conversion_rate=rate(journal.conversions),
        dislike_rate=rate(journal.dislikes),
        satisfaction=tuple(float(mood(journal)[list(week)].mean()) for week in weeks),
        visits=tuple(float(journal.visited[list(week)][:, there].mean()) for week in weeks),
        alive=tuple(float(journal.alive[week[-1]][there].mean()) for week in weeks),
        retention=tuple(float(share) for share in back),
    )


@dataclass(frozen=True)
class _Counted:
    """Popularity among the clicks so far."""

    clicks: NDArray[np.int64]

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        row = np.log1p(self.clicks).astype(np.float32)
        return np.repeat(row[None], len(histories), axis=0)


def _loop(temperature: float, seed: int) -> tuple[GenerationFacts, ...]:
    world = World.populated(800, _ITEMS, _TOPICS, seed, Habits(boredom=0.03))

    def policy(clicks: NDArray[np.int64]) -> Sampled:
        return Sampled(_Counted(clicks), _PLACES, temperature)

    def retrain(journals: list[Journal]) -> Policy:
        return policy(clicks_of_items(journals, _ITEMS))

    found: list[Generation] = generations(
        world, policy(np.zeros(_ITEMS, np.int64)), retrain, count=6, days=14, seed=seed
    )
    return tuple(GenerationFacts(**vars(each)) for each in found)
