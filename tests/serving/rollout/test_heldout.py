"""Who is replayed, when they ask, and what would be a hit."""

from __future__ import annotations

import pytest
from tables_by_hand import configuration, tables

from recommender.features.build import history_log
from recommender.privacy import Pseudonyms
from recommender.split import Fold
from serving.rollout.heldout import held_out

NAMES = Pseudonyms(b"a key of sixteen")
FOLD = Fold(50, 100, 200)


@pytest.fixture
def find(tmp_path):
    def call(events, actions=None, **rollout):
        sections = {"rollout": rollout}
        if actions:
            sections["actions"] = actions
        config = configuration(tmp_path, **sections)
        return {user.user_id: user for user in held_out(tables(events), config, FOLD, NAMES)}

    return call


def test_a_user_asks_at_the_first_event_after_the_cut(find):
    found = find(
        [
            ("ann", "a", "click", 99),
            ("ann", "b", "impression", 105),  # no history: seeing is not doing
            ("ann", "c", "click", 110),
            ("ann", "d", "purchase", 120),
            ("bob", "a", "purchase", 100),  # at the cut itself: after it
            ("cyd", "a", "purchase", 99),
            ("dan", "a", "purchase", 200),  # the window is over
            ("eve", "a", "impression", 150),
        ]
    )
    assert {user: told.time for user, told in found.items()} == {"ann": 110, "bob": 100}
    assert found["ann"].relevant == {"d"}
    assert found["bob"].relevant == {"a"}
    assert found["ann"].pseudonym == NAMES.of("ann")


def test_the_history_at_the_moment_of_asking_is_the_history_as_of_the_cut(tmp_path, find):
    events = [
        (f"u{n % 7}", "abcdef"[n % 6], ("click", "purchase", "impression")[n % 3], 60 + 3 * n)
        for n in range(40)
    ]
    config = configuration(tmp_path)
    log = history_log(tables(events), config)
    for user, told in find(events).items():
        row = log.users.index(user)
        start, stop = log.offsets[row], log.offsets[row + 1]
        times = log.times[start:stop]
        assert (times < told.time).sum() == (times < FOLD.test_start).sum()


def test_only_the_next_successes_count(find):
    events = [("ann", item, "purchase", 110 + n) for n, item in enumerate("abcde")]
    assert find(events, outcome_events=3)["ann"].relevant == {"a", "b", "c"}
    twice = [*[("ann", "a", "purchase", 110 + n) for n in range(3)], ("ann", "b", "purchase", 120)]
    assert find(twice, outcome_events=3)["ann"].relevant == {"a"}


def test_an_item_that_can_not_be_recommended_again_is_no_outcome(find):
    events = [("ann", "a", "purchase", 90), ("ann", "a", "purchase", 110)]
    once = {"types": ["purchase"], "exclude_seen": True}
    again = {"types": ["purchase"], "exclude_seen": False}
    assert find(events, once)["ann"].relevant == frozenset()
    assert find(events, again)["ann"].relevant == {"a"}


def test_the_order_is_nobodys_choice_and_always_the_same(find):
    events = [(f"u{n:03}", "a", "purchase", 100 + n % 50) for n in range(200)]
    order = list(find(events))
    assert order == list(find(list(reversed(events))))
    assert order != sorted(order)
    assert list(find(events, maximum_users=20)) == order[:20]
