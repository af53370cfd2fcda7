"""Versions as served lists show them: read rightly, and effects that are known are found."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from served_world import HOUR_MS, ORIGIN, tables

from recommender.config import Config, parse
from recommender.config.actions import ActionsConfig
from recommender.evaluation.long_term.changes import INTERRUPTED, MATCHED, changes
from recommender.evaluation.long_term.facts import EffectFacts, VersionsFacts
from recommender.evaluation.long_term.journal import Journal
from recommender.evaluation.long_term.policies import Sampled, TopicTaste
from recommender.evaluation.long_term.served_lists import Shown, shown
from recommender.evaluation.long_term.simulator import World
from recommender.evaluation.long_term.versions import NEGATIVE, SUCCESS, THERE, versions
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.served import FEEDBACK, SERVED
from recommender.tables import TIME

ACTIONS = {
    "types": ["dislike", "click", "buy"],
    "negative": ["dislike"],
    "success": ["click"],
}
PEOPLE, CANARY, FULL, DAYS = 2000, 35, 49, 84


def config(minimum_users: int = 500) -> Config:
    gate = {"minimum_users": minimum_users}
    tree = {
        "name": "tiny",
        "source": {"kind": "synthetic"},
        "actions": ACTIONS,
        "evaluation": {"gate": gate},
    }
    return parse(tree, "test")


def lists_of(rows: list[tuple[str, str, str, str, int]], told: list[tuple[str, str, int]]):
    """Return tables of (request, user, version, lane, hour) and (request, action, hour)."""
    made = {
        **{name: pa.nulls(2 * len(rows), SERVED.field(name).type) for name in SERVED.names},
        "request_id": [row[0] for row in rows for _ in "ab"],
        "user": [row[1] for row in rows for _ in "ab"],
        "version": [row[2] for row in rows for _ in "ab"],
        "lane": [row[3] for row in rows for _ in "ab"],
        "time": pa.array([row[4] * HOUR_MS for row in rows for _ in "ab"]).cast(TIME),
        "item_id": ["a", "b"] * len(rows),
        "position": pa.array([1, 2] * len(rows), pa.int32()),
        "propensity": [0.5] * (2 * len(rows)),
        "policy": ["greedy"] * (2 * len(rows)),
    }
    when = pa.array([row[2] * HOUR_MS for row in told]).cast(TIME)
    feedback = {
        "event_id": [str(n) for n in range(len(told))],
        "request_id": [row[0] for row in told],
        "item_id": ["b"] * len(told),
        "action": [row[1] for row in told],
        "time": when,
        "value": pa.nulls(len(told), pa.float64()),
        "received": when,
    }
    return pa.table(made).cast(SERVED), pa.table(feedback).cast(FEEDBACK)


def test_lists_are_read_with_what_came_of_them_and_the_rest_is_counted() -> None:
    found = shown(
        *lists_of(
            [
                ("r3", "ann", "m-2", "live", 30),
                ("r1", "bob", "m-1", "live", 1),
                ("r2", "", "m-1", "live", 2),
                ("r4", "ann", "m-2", "rehearsal", 30),
                ("r5", "ann", "m-2", "live", 99),
            ],
            [("r1", "click", 2), ("r3", "dislike", 31), ("r2", "buy", 99), ("r5", "click", 100)],
        ),
        ActionsConfig.model_validate(ACTIONS),
        24 * HOUR_MS,
    )
    assert found is not None
    assert (found.versions, found.people) == (("m-1", "m-2"), 2)
    assert found.person.tolist() == [1, -1, 0]
    assert found.version.tolist() == [0, 0, 1]
    assert found.success.tolist() == [True, False, False]  # a purchase after 97 hours is too late
    assert found.negative.tolist() == [False, False, True]
    assert [count for _, count in sorted(found.set_aside.items())] == [1, 1, 1]


def test_lists_nobody_ever_told_about_say_nothing() -> None:
    served, feedback = lists_of([("r1", "bob", "m-1", "live", 1)], [("r1", "click", 2)])
    actions = ActionsConfig.model_validate(ACTIONS)
    assert shown(served, feedback.slice(0, 0), actions, HOUR_MS) is None
    assert shown(served.slice(0, 0), feedback, actions, HOUR_MS) is None
    assert shown(served, feedback, actions, DAY_MS) is None  # may still be told


def _log(versions_of_day: list[str]) -> Shown:
    """One list a day and version; letters are versions."""
    names = tuple(dict.fromkeys("".join(versions_of_day)))
    days = [(day, name) for day, mine in enumerate(versions_of_day) for name in mine]
    count = len(days)
    return Shown(
        names,
        1,
        np.zeros(count, np.int64),
        np.array([names.index(name) for _, name in days]),
        np.array([day * DAY_MS for day, _ in days]),
        np.zeros(count, bool),
        np.zeros(count, bool),
        np.zeros(count, bool),
        {},
    )


def test_a_change_ends_where_a_third_version_comes() -> None:
    found = list(changes(_log(["a"] * 5 + ["ab"] * 3 + ["b"] * 4 + ["bc"] * 2 + ["c"] * 3)))
    assert [(c.before, c.after, c.first, c.start, c.end) for c in found] == [
        (0, 1, 5, 0, 12),
        (1, 2, 12, 8, 17),
    ]
    assert list(changes(_log(["a"] * 9))) == []


def simulated(seed: int) -> tuple[Journal, Journal, np.ndarray]:
    """Return a world that changes to the better policy, the same without, and who went first."""
    world = World.populated(PEOPLE, 150, 8, seed)
    same, varied = (
        Sampled(TopicTaste(world.topics, world.quality, variety), 5, 0.4) for variety in (0.0, 0.9)
    )
    world.run([same], 21, seed + 1)
    first = np.random.default_rng(seed).random(PEOPLE) < 0.4
    assigned = np.zeros((DAYS, PEOPLE), np.int64)
    assigned[CANARY:FULL, first] = 1
    assigned[FULL:] = 1
    stayed = copy.deepcopy(world).run([same], DAYS, seed + 2)
    return world.run([same, varied], DAYS, seed + 2, assigned), stayed, first


def truth(changed: Journal, stayed: Journal, first: np.ndarray) -> dict[tuple[str, str], float]:
    """Return what changed in the share of lists with a click or a dislike."""
    found = {}
    for name, field in ((SUCCESS, "clicked"), (NEGATIVE, "disliked")):
        daily, mine = [], []
        for journal in (changed, stayed):
            day = journal.days - journal.days.min()
            happened = getattr(journal, field).any(axis=1)
            daily.append(happened[day >= FULL].mean())
            early = (day >= CANARY) & (day < FULL) & first[journal.people]
            count = np.bincount(journal.people[early], minlength=PEOPLE)
            total = np.bincount(journal.people[early], happened[early], minlength=PEOPLE)
            mine.append((total[count > 0] / count[count > 0]).mean())
        found[INTERRUPTED, name] = daily[0] - daily[1]
        found[MATCHED, name] = mine[0] - mine[1]
    return found


def facts(changed: Journal, **settings: int) -> VersionsFacts:
    made = config(**settings)
    found = shown(*tables(changed, ["m-old", "m-new"]), made.actions, DAY_MS)
    assert found is not None
    return versions(found, made)


@pytest.fixture(scope="module")
def world() -> tuple[Journal, Journal, np.ndarray]:
    return simulated(3)


@pytest.fixture(scope="module")
def rolled_out(world) -> tuple[VersionsFacts, dict[tuple[str, str], float]]:
    return facts(world[0]), truth(*world)


def _holds(effect: EffectFacts, value: float) -> bool:
    assert effect.effect.low is not None
    assert effect.effect.high is not None
    return effect.effect.low <= value <= effect.effect.high


def test_known_effects_lie_in_their_intervals(rolled_out) -> None:
    found, known = rolled_out
    assert {(each.method, each.outcome) for each in found.effects} == {
        *known,
        (MATCHED, THERE),
    }
    for effect in found.effects:
        if effect.outcome != THERE:
            assert _holds(effect, known[effect.method, effect.outcome]), effect
    matched = found.effects[0]
    assert (matched.method, matched.shortcomings) == (MATCHED, ())
    assert matched.effect.low > 0
    assert (matched.before, matched.after) == ("m-old", "m-new")
    assert matched.start == ORIGIN + CANARY * DAY_MS


def test_versions_are_described_and_every_look_has_its_caveats(rolled_out) -> None:
    found, _ = rolled_out
    old, new = found.versions
    assert (old.version, new.version) == ("m-old", "m-new")
    assert old.last < ORIGIN + FULL * DAY_MS <= new.last
    assert old.first < new.first
    assert new.success > old.success
    assert new.negative < old.negative
    assert 0 < old.returned < 1
    assert set(found.caveats) == {each.method for each in found.effects}
    assert all(found.caveats.values())


def test_few_people_and_small_effects_are_insufficient(world, rolled_out) -> None:
    found = facts(world[0], minimum_users=10_000)
    assert all("10,000 on either side" in each.shortcomings[0] for each in found.effects)
    for effect in rolled_out[0].effects:
        small = abs(effect.effect.estimate) < effect.detectable
        assert small == any("smallest effect" in why for why in effect.shortcomings)


def test_a_version_that_took_over_at_once_cannot_be_matched_and_says_so() -> None:
    whole = _log(["a"] * 30 + ["b"] * 30)
    found = versions(whole, config(minimum_users=2))
    by_method = {each.method: each for each in found.effects}
    assert "never served on the same day" in " ".join(by_method[MATCHED].shortcomings)
    assert by_method[MATCHED].effect.estimate is None
    assert by_method[INTERRUPTED].effect.estimate == pytest.approx(0)


def test_a_change_of_yesterday_has_too_few_days() -> None:
    found = versions(replace(_log(["a"] * 30 + ["b"])), config(minimum_users=2))
    told = [each for each in found.effects if each.method == INTERRUPTED]
    assert all("too few days" in " ".join(each.shortcomings) for each in told)
    assert all(each.effect.low is None for each in told)


@pytest.mark.slow
def test_intervals_cover_the_truth_of_many_worlds() -> None:
    held = []
    for seed in range(20, 32):
        world = simulated(seed)
        known = truth(*world)
        held += [
            _holds(each, known[each.method, each.outcome])
            for each in facts(world[0]).effects
            if each.outcome != THERE
        ]
    assert len(held) == 48
    assert np.mean(held) >= 0.85
