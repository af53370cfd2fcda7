"""Examples: contexts lie strictly before their targets, and everything before the cut is used."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import ACTIONS, log_of

from recommender.config.actions import ActionsConfig
from recommender.errors import TrainingError
from recommender.features.sequences import Exposures
from recommender.training.batches import Batch, plan
from recommender.training.examples import Examples

FILMS = ActionsConfig(types=("rate", "like"), success=("like",))
GROCERIES = ActionsConfig(types=("buy",), exclude_seen=False)


def told(examples: Examples) -> list[tuple[list[int], int, list[int], list[int]]]:
    """Return (items before, now, item targets, items with an action target) of every context."""
    found = []
    for window in range(len(examples.window_start)):
        start = examples.window_start[window]
        lo, hi = examples.context_offsets[window : window + 2]
        for context in range(lo, hi):
            before = examples.history.items[start : start + examples.position[context]]
            wanted = slice(*examples.item_offsets[context : context + 2])
            acted = slice(*examples.action_offsets[context : context + 2])
            found.append(
                (
                    before.tolist(),
                    int(examples.now[context]),
                    examples.item[wanted].tolist(),
                    examples.action_item[acted].tolist(),
                )
            )
    return found


def test_the_lines_of_one_basket_share_a_context_and_are_not_in_it():
    log = log_of(
        [("u", "a", "buy", 1), ("u", "b", "buy", 5), ("u", "c", "buy", 5), ("u", "a", "buy", 9)],
        GROCERIES,
        "abc",
    )
    examples = Examples.build(log, 100, 3, GROCERIES, 10, 0.0)
    assert told(examples) == [
        ([], 1, [0], [0]),
        ([0], 5, [1, 2], [1, 2]),
        ([0, 1, 2], 9, [0], []),  # "a" again within the session is the same case
    ]


def test_where_all_happened_at_one_moment_nothing_lies_before_anything():
    rows = [(user, item, "buy", 5) for user in "uv" for item in "abc"]
    examples = Examples.build(log_of(rows, GROCERIES, "abc"), 6, 3, GROCERIES, 10, 0.0)
    assert told(examples) == [([], 5, [0, 1, 2], [0, 1, 2])] * 2


def test_events_that_make_no_history_train_the_action_head_only():
    log = log_of(
        [("u", "a", "click", 1), ("u", "b", "impression", 2), ("u", "c", "impression", 9)],
        ACTIONS,
        "abc",
    )
    examples = Examples.build(log, 100, 3, ACTIONS, 10, 0.0)
    assert told(examples) == [([], 1, [0], [0]), ([0], 2, [], [1]), ([0], 9, [], [2])]
    assert examples.action.tolist() == [2, 1, 1]
    assert examples.known.tolist() == [True, False, False]


def test_nothing_at_or_after_the_cut_is_read():
    rows = [("u", "a", "buy", 1), ("u", "b", "buy", 5), ("v", "a", "buy", 3)]
    later = [("u", "c", "buy", 7), ("v", "c", "buy", 8), ("w", "b", "buy", 7)]
    before = Examples.build(log_of(rows, GROCERIES, "abc"), 7, 3, GROCERIES, 10, 0.0)
    after = Examples.build(log_of(rows + later, GROCERIES, "abc"), 7, 3, GROCERIES, 10, 0.0)
    assert told(before) == told(after)
    np.testing.assert_array_equal(before.latest, after.latest)
    np.testing.assert_array_equal(before.popularity, after.popularity)
    np.testing.assert_array_equal(before.known, after.known)


def test_the_latest_window_learns_less_and_counts_popularity_as_ever():
    """Whether a purchase counts can't depend on how much its buyer bought later."""
    rows = [("u", item, "buy", t) for t, item in enumerate("aabbbcccc", start=1)]
    log = log_of([*rows, ("v", "a", "buy", 2)], GROCERIES, "abc")
    whole = Examples.build(log, 100, 3, GROCERIES, 3, 0.0, slices=1)
    latest = Examples.build(log, 100, 3, GROCERIES, 3, 0.0, slices=1, latest_window=True)
    assert len(latest.item) < len(whole.item)
    np.testing.assert_array_equal(latest.latest, whole.latest)
    parts = Examples.build(log, 100, 3, GROCERIES, 3, 0.0, slices=4, latest_window=True)
    until = Examples.build(log.before(8), 8, 3, GROCERIES, 3, 0.0, slices=1)
    last = parts.popularity[parts.slice[parts.now == 8][0]]
    np.testing.assert_array_equal(last, until.latest)


def test_where_seen_items_are_excluded_only_the_first_time_is_a_target():
    log = log_of(
        [
            ("u", "a", "like", 1),
            ("u", "b", "like", 2),
            ("u", "a", "like", 3),
            ("u", "c", "rate", 4),
        ],
        FILMS,
        "abc",
    )
    wanted = [target for _, _, target, _ in told(Examples.build(log, 9, 3, FILMS, 10, 0.5))]
    assert wanted == [[0], [1], [], [2]]
    assert Examples.build(log, 9, 3, FILMS, 10, 0.5).weight.tolist() == [1, 1, 0.5]
    # A low rating is no target without a weight, but still history and an action.
    without = told(Examples.build(log, 9, 3, FILMS, 10, 0.0))
    assert [target for _, _, target, _ in without] == [[0], [1], [], []]
    assert without[3] == ([0, 1, 0], 4, [], [2])


def test_an_item_taken_twice_at_once_is_one_target_with_the_higher_weight():
    log = log_of([("u", "a", "rate", 1), ("u", "a", "like", 1)], FILMS, "abc")
    examples = Examples.build(log, 9, 3, FILMS, 10, 0.5)
    assert examples.item.tolist() == [0]
    assert examples.weight.tolist() == [1]


@given(times=st.lists(st.integers(0, 30), min_size=1, max_size=60), limit=st.integers(1, 9))
def test_windows_give_every_context_as_much_history_as_promised(times, limit):
    log = log_of([("u", "a", "buy", t) for t in sorted(times)], GROCERIES, "ab")
    examples = Examples.build(log, 100, 2, GROCERIES, limit, 0.0)
    assert sorted(examples.now.tolist()) == sorted(set(times))
    window = np.repeat(np.arange(len(examples.window_start)), np.diff(examples.context_offsets))
    # Where a context's history ends in the log is where strictly earlier events end.
    ends = examples.window_start[window] + examples.position
    np.testing.assert_array_equal(ends, np.searchsorted(np.sort(times), examples.now))
    stride = max(1, limit // 2)
    enough = np.minimum(ends, limit - stride + 1)
    assert (examples.position >= enough).all()
    assert (examples.window_length <= limit).all()
    assert examples.window_length.max() == examples.position.max()


def test_popularity_of_a_slice_counts_only_what_lies_before_it():
    rows = [("u", "a", "buy", t) for t in range(64)] + [("u", "b", "buy", 200)]
    examples = Examples.build(log_of(rows, GROCERIES, "abc"), 300, 3, GROCERIES, 80, 0.0)
    counts = np.exp(examples.popularity[:, :, 0]) - 0.5
    for context in range(len(examples.now)):
        known = counts[examples.slice[context], 0]
        truth = min(examples.now[context], 64)
        assert truth - 3 <= round(known) <= truth
    assert np.exp(examples.latest[:, 0]) - 0.5 == pytest.approx([64, 1, 0], abs=1e-4)
    # A short memory thinks more of the item that came last.
    short = np.exp(examples.latest[:, -1]) - 0.5
    assert short[1] / short[0] > 1 / 64


def test_the_latest_window_alone_is_learned_and_its_first_event_has_no_empty_history():
    rows = [("u", item, "buy", time) for time, item in enumerate("abcab")]
    rows += [("v", "c", "buy", 1), ("v", "b", "buy", 2)]
    log = log_of(rows, GROCERIES, "abc")
    examples = Examples.build(log, 100, 3, GROCERIES, 3, 0.0, latest_window=True)
    assert [(before, now, item) for before, now, item, _ in told(examples)] == [
        ([], 2, []),  # of "u": what came before the window isn't nothing
        ([2], 3, [0]),
        ([2, 0], 4, [1]),
        ([], 1, [2]),
        ([2], 2, [1]),
    ]
    assert examples.known.all()


def test_with_one_slice_popularity_is_that_of_the_cut():
    log = log_of([("u", "a", "buy", 1), ("u", "b", "buy", 5)], GROCERIES, "abc")
    examples = Examples.build(log, 9, 3, GROCERIES, 10, 0.0, slices=1)
    assert len(examples.popularity) == 1
    np.testing.assert_array_equal(examples.popularity[0], examples.latest)
    assert set(examples.slice.tolist()) == {0}


def test_without_history_or_without_success_there_is_nothing_to_learn():
    log = log_of([("u", "a", "impression", 1), ("u", "a", "click", 8)], ACTIONS, "a")
    with pytest.raises(TrainingError, match="no event of the types click, purchase"):
        Examples.build(log, 5, 1, ACTIONS, 10, 0.0)
    log = log_of([("u", "a", "rate", 1), ("u", "a", "rate", 8)], FILMS, "a")
    with pytest.raises(TrainingError, match="none of 2 history events"):
        Examples.build(log, 9, 1, FILMS, 10, 0.0)


def test_batches_hold_every_window_once_within_the_budget_in_an_order_of_seed_and_epoch(world):
    examples = Examples.build(world.log, world.folds[0].test_start, 40, ACTIONS, 10, 0.0)
    first = plan(examples, 200, 1, 0)
    assert sorted(np.concatenate(first).tolist()) == list(range(len(examples.window_start)))
    for windows in first:
        states = len(windows) * (examples.window_length[windows].max() + 1)
        contexts = np.diff(examples.context_offsets)[windows].sum()
        assert len(windows) == 1 or (states <= 200 and contexts <= 200)
    same = plan(examples, 200, 1, 0)
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    for other in (plan(examples, 200, 1, 1), plan(examples, 200, 2, 0)):
        assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_a_batch_asks_what_the_examples_ask(world):
    examples = Examples.build(world.log, world.folds[0].test_start, 40, ACTIONS, 10, 0.0)
    windows = np.array([5, 2, 9])
    batch = Batch.of(examples, windows)
    asked = []
    for place, window in enumerate(windows):
        lo, hi = examples.context_offsets[window : window + 2]
        for context in range(lo, hi):
            wanted = slice(*examples.item_offsets[context : context + 2])
            for item in examples.item[wanted]:
                asked.append(
                    (place, int(examples.position[context]), int(examples.now[context]), int(item))
                )
    context = batch.asked[batch.targets.context]
    found = zip(
        batch.contexts.row[context].tolist(),
        batch.contexts.position[context].tolist(),
        batch.contexts.now[context].tolist(),
        batch.targets.item.tolist(),
        strict=True,
    )
    assert sorted(found) == sorted(asked)
    assert batch.tokens == examples.window_length[windows].sum()
    for place, window in enumerate(windows):
        start, length = examples.window_start[window], examples.window_length[window]
        items = batch.histories.items[place, :length]
        assert items.tolist() == examples.history.items[start : start + length].tolist()


def test_what_came_of_an_item_is_learned_at_the_moment_it_was_shown():
    """A purchase after a click is no riddle; the click that leads to it is."""
    actions = ActionsConfig(types=("view", "click", "buy"), history=("click", "buy"))
    log = log_of(
        [
            ("u", "a", "click", 1),
            ("u", "b", "view", 5),
            ("u", "c", "click", 9_000),
            ("u", "c", "buy", 50_000),
        ],
        actions,
        "abc",
    )
    # "b" and "c" were places of one list; "a" was found by search.
    exposures = Exposures(np.array([0, 1, 2, 0], np.int32), np.full(4, 0.5))
    examples = Examples.build(replace(log, exposures=exposures), 10**9, 3, actions, 10, 0.0)
    assert [(now, items) for _, now, _, items in told(examples) if items] == [
        (1, [0]),
        (5, [1, 2]),
    ]
    assert examples.action.tolist() == [2, 1, 3]
