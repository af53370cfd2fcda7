"""The simulated world: what must be true of it, and what the estimators see of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from recommender.config.off_policy import OffPolicyConfig
from recommender.evaluation.long_term.feedback import clicks_of_items, generations
from recommender.evaluation.long_term.policies import (
    Sampled,
    TopicTaste,
    list_propensities,
    plackett_luce,
)
from recommender.evaluation.long_term.simulator import Habits, World
from recommender.evaluation.off_policy.assess import assess
from recommender.evaluation.off_policy.impressions import impressions


def _world(people: int = 1500, seed: int = 0, **habits: float) -> World:
    return World.populated(people, 200, 10, seed, Habits(**habits))


def _taste(world: World, variety: float, temperature: float = 0.2) -> Sampled:
    return Sampled(TopicTaste(world.topics, world.quality, variety), 5, temperature)


def test_the_same_seed_gives_the_same_days() -> None:
    first, second = ((world := _world(200)).run([_taste(world, 0.0)], 20, seed=3) for _ in range(2))
    assert (first.visited == second.visited).all()
    assert (first.shown == second.shown).all()
    assert (first.clicked == second.clicked).all()


def test_propensities_are_those_of_the_draws() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.2]]))
    rng = np.random.default_rng(0)
    drawn = plackett_luce(np.repeat(logits, 40_000, axis=0), 2, rng)
    for items, chance in (((0, 1), 0.5 * 0.3 / 0.5), ((2, 0), 0.2 * 0.5 / 0.8)):
        rows = (drawn.items == items).all(axis=1)
        assert rows.mean() == pytest.approx(chance, abs=0.01)
        assert drawn.propensities[rows].prod(axis=1) == pytest.approx(chance)


def test_the_propensities_of_all_lists_add_up_to_one() -> None:
    logits = np.random.default_rng(1).standard_normal((1, 4))
    pairs = np.array([[a, b] for a in range(4) for b in range(4) if a != b])
    chances = list_propensities(np.repeat(logits, len(pairs), axis=0), pairs).prod(axis=1)
    assert chances.sum() == pytest.approx(1)


def test_people_who_left_never_come_back() -> None:
    world = _world(300, churn=0.2)
    journal = world.run([_taste(world, 0.0)], 60, seed=1)
    assert not (journal.visited & ~journal.alive).any()
    assert (np.diff(journal.alive.astype(int), axis=0) <= 0).all()
    assert journal.alive[-1].mean() < 0.9


def test_more_of_the_same_tires_people_and_variety_keeps_them_although_clicks_start_alike() -> None:
    start = _world(3000)
    days, runs = 120, {}
    for variety in (0.0, 0.9):
        world = copy.deepcopy(start)
        runs[variety] = world.run([_taste(world, variety)], days, seed=5)

    def click_rate(variety: float, first: int, last: int) -> float:
        journal = runs[variety]
        rows = (journal.days >= first) & (journal.days < last)
        return float(journal.clicked[rows].mean())

    first_week = click_rate(0.9, 0, 7) / click_rate(0.0, 0, 7)
    last_month = click_rate(0.9, 90, 120) / click_rate(0.0, 90, 120)
    assert last_month > first_week + 0.1
    mood = {v: runs[v].satisfaction[-1][runs[v].alive[-1]].mean() for v in runs}
    assert mood[0.9] > mood[0.0] + 0.05
    assert runs[0.9].visited[90:].sum() > 1.05 * runs[0.0].visited[90:].sum()


@pytest.mark.slow
def test_without_satiation_and_boredom_variety_has_less_to_offer() -> None:
    def gain(**habits: float) -> float:
        start, visits = _world(3000, **habits), []
        for variety in (0.0, 0.9):
            world = copy.deepcopy(start)
            visits.append(world.run([_taste(world, variety)], 90, seed=5).visited[60:].sum())
        return float(visits[1] / visits[0])

    assert gain(satiation=0.7, boredom=0.15) > gain(satiation=0.0, boredom=0.0) + 0.05


def test_off_policy_estimates_match_the_truth_of_the_day_that_was_logged() -> None:
    start = _world(12_000)
    logging, target = _taste(start, 0.0, 0.5), _taste(start, 0.6, 0.5)
    warm = start.run([logging], 10, seed=2)
    assert len(warm.people)
    truth = copy.deepcopy(start).run([target], 1, seed=8)
    log_world = copy.deepcopy(start)
    would_have: dict[str, np.ndarray] = {}

    class Recorded:
        """The logging policy, which also notes what the target would have done."""

        def lists(self, visits, rng):
            shown = logging.lists(visits, rng)
            scores = target.scorer.scores(visits.histories).astype(float)
            scores = (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)
            would_have["target"] = list_propensities(scores / target.temperature, shown.items)
            return shown

    log = log_world.run([Recorded()], 1, seed=8)
    # Clicks here don't depend on the other places, and the first one's weights are simplest.
    first = impressions(log.people, log.clicked[:, 0], log.propensities[:, 0])
    found = assess(first, would_have["target"][:, 0], OffPolicyConfig())
    value = found.values["snips"]
    error = truth.clicked[:, 0].std() / np.sqrt(len(truth.people))
    assert found.sufficient, found.shortcomings
    assert value.low - 2 * error <= truth.clicked[:, 0].mean() <= value.high + 2 * error


def test_models_trained_on_what_they_showed_narrow_what_is_shown() -> None:
    world = World.populated(800, 200, 10, 0, Habits(boredom=0.02, satiation=0.05))

    class Counted:
        def __init__(self, clicks: np.ndarray) -> None:
            self.clicks = clicks

        def scores(self, histories):
            return np.repeat(np.log1p(self.clicks)[None, :].astype(np.float32), len(histories), 0)

    def popular(journals):
        return Sampled(Counted(clicks_of_items(journals, 200)), 5, 0.5)

    random = Sampled(Counted(np.zeros(200)), 5, 0.5)
    found = generations(world, random, popular, count=5, days=10, seed=1)
    assert found[0].coverage == 1.0
    assert found[0].gini < 0.15
    assert [each.gini for each in found] == sorted(each.gini for each in found)
    assert found[-1].gini > 0.6
    assert found[-1].diversity < found[0].diversity


def test_dislikes_are_of_what_was_not_clicked_and_tell_of_displeasure() -> None:
    world = _world(800, dislike_threshold=0.2)
    other = copy.deepcopy(world)
    other.habits = Habits()
    journal = world.run([_taste(world, 0.0)], 28, seed=1)
    assert not (journal.disliked & journal.clicked).any()
    assert (journal.bought <= journal.clicked).all()
    assert journal.dislikes.sum() == journal.disliked.sum() > 500
    visits = journal.visited.sum(axis=0)
    often = visits > 5
    rate = journal.dislikes.sum(axis=0)[often] / visits[often]
    assert np.corrcoef(rate, journal.satisfaction[-1][often])[0, 1] < -0.2
    # They are a sign, not a cause: with fewer of them everything else is the same.
    calm = other.run([_taste(other, 0.0)], 28, seed=1)
    assert calm.dislikes.sum() < journal.dislikes.sum()
    assert (calm.clicked == journal.clicked).all()
