from dataclasses import replace

import numpy as np
import pytest
from tiny_world import log_of

from recommender.config.actions import ActionsConfig
from recommender.evaluation.freeze import freeze
from recommender.features.sequences import Catalogue
from recommender.split import Fold
from recommender.training.validation import Validation

FILMS = ActionsConfig(types=("rate", "like"), success=("like",))
GROCERIES = ActionsConfig(types=("buy",), exclude_seen=False)


class Fixed:
    """Ranks the catalogue as told, for everybody."""

    kind = "fixed"

    def __init__(self, scores):
        self.row = np.array(scores, np.float32)
        self.catalogue = Catalogue(tuple("abcdefghijkl"[: len(scores)]))

    def scores(self, histories):
        return np.tile(self.row, (len(histories), 1))


def test_ndcg_by_hand_is_averaged_over_requests_then_users():
    log = log_of(
        [
            ("u", "a", "buy", 1),
            ("u", "b", "buy", 10),
            ("u", "c", "buy", 10),
            ("u", "a", "buy", 20),
            ("v", "c", "buy", 12),
        ],
        GROCERIES,
        "abc",
    )
    asked = Validation.build(log, 10, 30, 3, GROCERIES, 50, 10, 99)
    # Ranking a, b, c: u at 10 finds b, c at ranks 2 and 3; u at 20 finds a first; v finds c third.
    two = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert asked.users == 2
    assert asked.ndcg(Fixed([3, 2, 1])) == pytest.approx(((two + 1) / 2 + 0.5) / 2)


def test_seen_items_are_neither_ranked_nor_relevant_where_they_are_excluded():
    log = log_of(
        [("u", "a", "like", 1), ("u", "a", "like", 10), ("u", "b", "like", 11)], FILMS, "abc"
    )
    asked = Validation.build(log, 10, 30, 3, FILMS, 50, 10, 99)
    assert len(asked) == 1
    assert asked.ndcg(Fixed([3, 2, 1])) == 1


def test_a_low_rating_is_no_success_but_is_seen_before_the_next_request():
    log = log_of([("u", "a", "rate", 10), ("u", "b", "like", 11)], FILMS, "abc")
    asked = Validation.build(log, 10, 30, 3, FILMS, 50, 10, 99)
    assert len(asked) == 1
    assert asked.histories.items.tolist() == [0]


def test_requests_and_users_are_limited_and_what_lies_behind_the_window_is_not_read():
    rows = [(f"u{user}", "abc"[t % 3], "buy", t) for user in range(6) for t in range(10, 16)]
    log = log_of(rows, GROCERIES, "abc")
    few = Validation.build(log, 10, 14, 3, GROCERIES, 50, 2, 3)
    assert few.users == 3
    assert sorted(few.histories.now.tolist()) == [10, 10, 10, 11, 11, 11]
    cut = Validation.build(log.before(14), 10, 14, 3, GROCERIES, 50, 2, 3)
    np.testing.assert_array_equal(few.relevant, cut.relevant)
    np.testing.assert_array_equal(few.histories.items, cut.histories.items)


def test_a_window_without_requests_is_empty_and_scores_nought():
    log = log_of([("u", "a", "buy", 1), ("u", "a", "buy", 40)], GROCERIES, "ab")
    asked = Validation.build(log, 10, 30, 2, GROCERIES, 50, 2, 3)
    assert len(asked) == 0
    assert asked.users == 0
    assert asked.ndcg(Fixed([1, 2])) == 0


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_it_asks_what_the_evaluation_would_ask_of_the_same_window(world, exclude_seen):
    from tiny_world import ACTIONS

    actions = ACTIONS.model_copy(update={"exclude_seen": exclude_seen})
    fold = world.folds[0]
    window = Fold(fold.validation_start - 1, fold.validation_start, fold.test_start)
    frozen = freeze(replace(world, folds=(window,)), actions, 50, 4)
    asked = Validation.build(
        world.log, fold.validation_start, fold.test_start, 40, actions, 50, 4, 10**6
    )
    assert len(asked) == len(frozen)
    np.testing.assert_array_equal(asked.histories.now, frozen.times)
    np.testing.assert_array_equal(asked.relevant_of, frozen.relevant_counts)
    owner = np.repeat(np.arange(len(frozen)), frozen.relevant_counts)
    np.testing.assert_array_equal(asked.relevant, np.sort(owner * 40 + frozen.relevant))
