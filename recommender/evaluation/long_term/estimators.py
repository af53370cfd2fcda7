"""What each estimator sees of the simulated world, and what was true there.

Every estimator that is used on real logs is asked a question whose answer is known:

- off-policy: one day's log of the first policy, about the other's clicks on that day;
- interrupted time series: a world that switches on a day, about the change of mood;
- matched comparison: people who came under the new policy because they were active;
- proxy: what the first two weeks say of the months after.

Shape letters: T days, U people, N lists.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from recommender.config.off_policy import OffPolicyConfig
from recommender.evaluation.long_term.interrupted import interrupted
from recommender.evaluation.long_term.journal import Journal
from recommender.evaluation.long_term.matched import matched
from recommender.evaluation.long_term.policies import (
    Policy,
    Sampled,
    Shown,
    Visits,
    list_propensities,
    standardised,
)
from recommender.evaluation.long_term.proxy import Validation, validate_by_time
from recommender.evaluation.long_term.simulator import World
from recommender.evaluation.off_policy.assess import assess
from recommender.evaluation.off_policy.impressions import impressions
from recommender.evaluation.records import Interval, Record

Doubles = NDArray[np.float64]


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


def mood(journal: Journal) -> Doubles:
    """Return the mean satisfaction of those who had not left, by day, (T,)."""
    there = journal.alive
    return np.asarray(
        np.where(there, journal.satisfaction, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    )


def off_policy(world: World, same: Sampled, varied: Sampled, seed: int) -> Seen:
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


def after_a_switch(world: World, same: Policy, varied: Policy, seed: int) -> Seen:
    """Switch everybody on a day; the truth is the same world without the switch."""
    change, days = 35, 70
    assigned = np.zeros((days, len(world.interest)), np.int64)
    assigned[change:] = 1
    switched = copy.deepcopy(world).run([same, varied], days, seed + 5, assigned)
    stayed = copy.deepcopy(world).run([same], days, seed + 5)
    daily = mood(switched)
    found = interrupted(daily, change, weekdays=False)
    return _seen(
        "interrupted time series",
        "change of mean satisfaction over five weeks after everybody was switched",
        (found.average.estimate, found.average.low, found.average.high),
        float((daily - mood(stayed))[change:].mean()),
        float(daily[change:].mean() - daily[:change].mean()),
    )


def after_an_opt_in(world: World, same: Policy, varied: Policy, seed: int) -> Seen:
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
