"""A study in the simulated world: two policies for months, and what each estimator sees of it.

The world is run twice from the same state with the same chance: once with the policy that
serves more of the same, once with one that leaves out what people just had. So the true effect is
known, and every estimator that is used on real logs is asked the same question:

- off-policy: one day's log of the first policy, about the other's clicks on that day;
- interrupted time series: a world that switches on a day, about the change of mood;
- matched comparison: people who came under the new policy because they were active;
- proxy: what the first two weeks say of the months after.

Shape letters: T days, U people, N lists.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.off_policy import OffPolicyConfig
from recommender.evaluation.long_term.feedback import (
    Generation,
    clicks_of_items,
    generations,
)
from recommender.evaluation.long_term.interrupted import interrupted
from recommender.evaluation.long_term.matched import matched
from recommender.evaluation.long_term.policies import (
    Sampled,
    TopicTaste,
    list_propensities,
    standardised,
)
from recommender.evaluation.long_term.proxy import Validation, validate_by_time
from recommender.evaluation.long_term.retention import retention
from recommender.evaluation.long_term.simulator import (
    Habits,
    Journal,
    Policy,
    Shown,
    Visits,
    World,
)
from recommender.evaluation.off_policy.assess import assess
from recommender.evaluation.off_policy.impressions import impressions
from recommender.evaluation.records import Interval, Record
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


class Seen(Record):
    """What an estimator said, and what was true.

    Attributes:
        estimator: its name.
        question: in words.
        estimate: with its interval.
        truth: known, because the world is ours.
        naive: what the plain comparison says; None where there is none.
        covers: whether the interval holds the truth.
    """

    estimator: str
    question: str
    estimate: Interval
    truth: float
    naive: float | None
    covers: bool


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
            _off_policy(world, same, varied, seed),
            _interrupted(world, same, varied, seed),
            _matched(world, same, varied, seed),
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
        satisfaction=tuple(float(_mood(journal)[list(week)].mean()) for week in weeks),
        visits=tuple(float(journal.visited[list(week)][:, there].mean()) for week in weeks),
        alive=tuple(float(journal.alive[week[-1]][there].mean()) for week in weeks),
        retention=tuple(float(share) for share in back),
    )


def _mood(journal: Journal) -> Doubles:
    """Return the mean satisfaction of those who had not left, by day, (T,)."""
    there = journal.alive
    return np.asarray(
        np.where(there, journal.satisfaction, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    )


def _off_policy(world: World, same: Sampled, varied: Sampled, seed: int) -> Seen:
    """Ask one day's log of the first policy what the other one's first place would have got."""
    would: list[Doubles] = []

    class Noting:
        def lists(self, visits: Visits, rng: np.random.Generator) -> Shown:
            shown = same.lists(visits, rng)
            scores = standardised(varied.scorer.scores(visits.histories))
            would.append(list_propensities(scores / varied.temperature, shown.items))
            return shown

    # Days of log that one day's question needs for a few thousand lists.
    log = copy.deepcopy(world).run([Noting()], 3, seed + 3)
    truth = copy.deepcopy(world).run([varied], 3, seed + 4)
    first = impressions(log.people, log.clicked[:, 0], log.propensities[:, 0])
    found = assess(first, np.concatenate(would)[:, 0], OffPolicyConfig(), seed=seed)
    value = found.values["snips"]
    return _seen(
        "off-policy (self-normalised)",
        "click rate of the first place under the new policy, from three days of the old one's log",
        (value.value, value.low, value.high),
        float(truth.clicked[:, 0].mean()),
        float(log.clicked[:, 0].mean()),
    )


def _interrupted(world: World, same: Policy, varied: Policy, seed: int) -> Seen:
    """Switch everybody on a day; the truth is the same world without the switch."""
    change, days = 35, 70
    assigned = np.zeros((days, len(world.interest)), np.int64)
    assigned[change:] = 1
    switched = copy.deepcopy(world).run([same, varied], days, seed + 5, assigned)
    stayed = copy.deepcopy(world).run([same], days, seed + 5)
    daily = _mood(switched)
    found = interrupted(daily, change, weekdays=False)
    return _seen(
        "interrupted time series",
        "change of mean satisfaction over five weeks after everybody was switched",
        (found.average.estimate, found.average.low, found.average.high),
        float((daily - _mood(stayed))[change:].mean()),
        float(daily[change:].mean() - daily[:change].mean()),
    )


def _matched(world: World, same: Policy, varied: Policy, seed: int) -> Seen:
    """Give the new policy to active people first, as an opt-in would."""
    before = copy.deepcopy(world)
    past = before.run([same], 28, seed + 6)
    habit = np.stack(
        [
            past.visited.sum(axis=0),
            past.visited[-7:].sum(axis=0),
            past.clicks.sum(axis=0),
            past.satisfaction[-1],
        ],
        axis=1,
    ).astype(float)
    here = before.alive.copy()
    pull = habit[:, 0] - np.median(habit[here, 0])
    chance = 1 / (1 + np.exp(-0.35 * pull))
    treated = np.random.default_rng(seed).random(len(here)) < chance
    after = copy.deepcopy(before).run([same, varied], 42, seed + 7, treated.astype(np.int64))
    stayed = copy.deepcopy(before).run([same], 42, seed + 7)
    outcome = after.satisfaction[-1]
    truth = (outcome - stayed.satisfaction[-1])[here & treated].mean()
    found = matched(habit[here], treated[here], outcome[here])
    return _seen(
        "matched comparison",
        "effect on the satisfaction of active people, who got the new policy first",
        (found.effect, found.low, found.high),
        float(truth),
        found.naive,
    )


def proxy_of(journal: Journal) -> Validation:
    """Predict visits of the later months from the first two weeks, on people not fitted on."""
    early = slice(0, 14)
    signals = np.stack(
        [
            journal.visited[early].sum(axis=0),
            journal.clicks[early].sum(axis=0),
            journal.dislikes[early].sum(axis=0),
            journal.satisfaction[13],
            journal.alive[13],
        ],
        axis=1,
    ).astype(float)
    value = journal.visited[14:].sum(axis=0).astype(float)
    # Everybody is followed over the same days; half of them stand for an earlier cohort.
    days = len(journal.visited)
    joined = np.where(np.arange(len(value)) % 2, 0, days)
    return validate_by_time(signals, value, joined, days, test_from=days)


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


def _seen(
    estimator: str,
    question: str,
    estimate: tuple[float, float, float],
    truth: float,
    naive: float | None,
) -> Seen:
    value, low, high = estimate
    return Seen(
        estimator=estimator,
        question=question,
        estimate=Interval(estimate=value, low=low, high=high),
        truth=truth,
        naive=naive,
        covers=low <= truth <= high,
    )
