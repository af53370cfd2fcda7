"""Item-to-item co-occurrence: hand-computed, bounded, blind to the future."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.artifact import Model
from recommender.baselines import item_knn
from recommender.baselines.item_knn import POPULARITY_SHARE, ItemKNN
from recommender.config.actions import ActionsConfig
from recommender.config.evaluation import ItemKNNConfig
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.scoring import top_k

ONCE = ActionsConfig(types=("view", "buy"), history=("buy",), exclude_seen=True)
REPEATS = ActionsConfig(types=("view", "buy"), history=("buy",), exclude_seen=False)
CATALOGUE = Catalogue(("a", "b", "c", "d"))
VIEW, BUY = 1, 2


def log_of(*rows: tuple[int, int, int, int], users: int) -> EventLog:
    """Build a log of (user, item, action, time) rows."""
    ordered = sorted(rows, key=lambda row: (row[0], row[3]))
    columns = np.array(ordered or np.empty((0, 4))).T.astype(np.int64)
    counts = np.bincount(columns[0], minlength=users)
    return EventLog(
        tuple(f"u{n}" for n in range(users)),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns[1].astype(np.int32),
        columns[2].astype(np.int8),
        columns[3],
        np.full(len(ordered), np.nan, np.float32),
    )


# a: users 0, 1, 2; b: users 0, 1; c: user 2; d: nobody
TAKEN = [(0, 0, BUY, 1), (0, 1, BUY, 2), (1, 1, BUY, 1), (1, 0, BUY, 2), (2, 0, BUY, 1)]
LOG = log_of(*TAKEN, (2, 2, BUY, 2), (2, 0, BUY, 3), (1, 3, VIEW, 1), users=3)
PLAIN = ItemKNNConfig(neighbours=4, shrinkage=0, half_life=None)


def asked(*items: int) -> Histories:
    times = list(range(len(items)))
    return Histories.of([(list(items), [BUY] * len(items), times)], now=[100])


def test_similarity_is_the_cosine_of_users_counted_once() -> None:
    scores = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=PLAIN).scores(asked(0))[0]
    expected = np.array([0, 2 / math.sqrt(3 * 2), 1 / math.sqrt(3 * 1), 0])
    popularity = np.array([4, 2, 1, 0]) / 4
    np.testing.assert_allclose(scores, expected + POPULARITY_SHARE * popularity, rtol=1e-6)


def test_shrinkage_pulls_rare_pairs_towards_zero() -> None:
    shrunk = ItemKNNConfig(neighbours=4, shrinkage=3, half_life=None)
    scores = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=shrunk).scores(asked(0))[0]
    assert scores[1] == pytest.approx(2 / (math.sqrt(6) + 3) + POPULARITY_SHARE * 0.5, rel=1e-6)


def test_an_item_recommends_itself_only_where_items_are_taken_again() -> None:
    once = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=PLAIN).scores(asked(2))[0]
    again = ItemKNN.fit(LOG, CATALOGUE, REPEATS, cut=10, settings=PLAIN).scores(asked(2))[0]
    assert again[2] - once[2] == pytest.approx(1.0)


def test_recent_events_weigh_more() -> None:
    fading = PLAIN.model_copy(update={"half_life": 1.0})
    scorer = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=fading)
    old_first, new_first = scorer.scores(asked(1, 2))[0], scorer.scores(asked(2, 1))[0]
    b, c = 2 / math.sqrt(6), 1 / math.sqrt(3)
    assert old_first[0] == pytest.approx(0.5 * b + c + POPULARITY_SHARE, rel=1e-6)
    assert new_first[0] == pytest.approx(b + 0.5 * c + POPULARITY_SHARE, rel=1e-6)


def test_somebody_without_history_gets_the_popular_items() -> None:
    scores = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=PLAIN).scores(asked())
    items, _ = top_k(scores, 4)
    assert items.tolist() == [[0, 1, 2, 3]]


def test_events_at_or_after_the_cut_change_nothing() -> None:
    future = [(0, 3, BUY, 10), (1, 2, BUY, 11), (2, 3, BUY, 12)]
    before = ItemKNN.fit(log_of(*TAKEN, users=3), CATALOGUE, ONCE, 10).weights()
    after = ItemKNN.fit(log_of(*TAKEN, *future, users=3), CATALOGUE, ONCE, 10).weights()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])


def test_without_any_event_before_the_cut_all_items_score_zero() -> None:
    scorer = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=0)
    np.testing.assert_array_equal(scorer.scores(asked(0, 1)), np.zeros((1, 4)))


def test_it_survives_a_round_trip_through_an_artifact(tmp_path) -> None:
    scorer = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10)
    Model(scorer, CATALOGUE.ids, ONCE, 50).save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    assert isinstance(again, ItemKNN)
    np.testing.assert_array_equal(again.scores(asked(0, 1)), scorer.scores(asked(0, 1)))


def test_memory_is_bounded_by_the_neighbours_that_are_kept() -> None:
    few = PLAIN.model_copy(update={"neighbours": 1})
    weights = ItemKNN.fit(LOG, CATALOGUE, ONCE, cut=10, settings=few).weights()
    assert weights["neighbours"].shape == weights["similarities"].shape == (4, 1)
    assert weights["neighbours"][:3, 0].tolist() == [1, 0, 0]  # the most similar of a, b, c


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_blocks_and_the_bare_formula_agree(seed: int, block: int) -> None:
    random = np.random.default_rng(seed)
    users, items = 6, 9
    rows = {(int(u), int(i)) for u, i in random.integers(0, (users, items), (25, 2))}
    log = log_of(*((u, i, BUY, t) for t, (u, i) in enumerate(sorted(rows))), users=users)
    taken = np.zeros((users, items))
    taken[tuple(np.array(sorted(rows)).T)] = 1
    popular = taken.sum(axis=0)
    cosine = taken.T @ taken / (np.sqrt(np.outer(popular, popular)) + 2)
    config = ItemKNNConfig(neighbours=items, shrinkage=2, half_life=None)
    catalogue = Catalogue(tuple(f"i{n}" for n in range(items)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(item_knn, "_BLOCK_BYTES", block * items * 16)
        scorer = ItemKNN.fit(log, catalogue, REPEATS, cut=1000, settings=config)
    history = random.integers(0, items, 4).tolist()
    expected = cosine[history].sum(axis=0) + POPULARITY_SHARE * popular / popular.max()
    np.testing.assert_allclose(scorer.scores(asked(*history))[0], expected, rtol=1e-5, atol=1e-7)
