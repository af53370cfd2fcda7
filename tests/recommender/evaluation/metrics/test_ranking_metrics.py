"""Ranking metrics: computed by hand, by their properties, and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from recommender.evaluation.metrics import NAMES, hits, metric_names, per_request, per_user
from recommender.scoring import top_k


def measured(places: list[list[int]], relevant: list[int], ks: tuple[int, ...]) -> dict[str, list]:
    values = per_request(np.array(places, bool), np.array(relevant), ks)
    return dict(zip(metric_names(ks), values.T.tolist(), strict=True))


def test_one_relevant_item_by_hand() -> None:
    found = measured([[0, 0, 1, 0, 0]], [1], (2, 3, 5))
    assert found["ndcg@2"] == found["hr@2"] == found["mrr@2"] == found["recall@2"] == [0]
    assert found["ndcg@3"] == found["ndcg@5"] == [pytest.approx(1 / math.log2(4))]
    assert found["hr@3"] == found["recall@3"] == [1]
    assert found["mrr@3"] == [pytest.approx(1 / 3)]
    assert found["precision@3"] == [pytest.approx(1 / 3)]
    assert found["precision@5"] == [pytest.approx(1 / 5)]


def test_several_relevant_items_by_hand() -> None:
    found = measured([[1, 0, 1, 0]], [3], (2, 4))
    ideal_2 = 1 + 1 / math.log2(3)
    ideal_3 = ideal_2 + 1 / math.log2(4)
    assert found["ndcg@2"] == [pytest.approx(1 / ideal_2)]  # the ideal is min(k, 3) = 2 hits
    assert found["ndcg@4"] == [pytest.approx((1 + 1 / 2) / ideal_3)]
    assert found["recall@2"] == [pytest.approx(1 / 3)]
    assert found["recall@4"] == [pytest.approx(2 / 3)]
    assert found["precision@4"] == [pytest.approx(1 / 2)]
    assert found["mrr@4"] == [1]
    assert found["map@2"] == [pytest.approx(1 / 2)]  # of min(2, 3) = 2 that could be found
    assert found["map@4"] == [pytest.approx((1 + 2 / 3) / 3)]


def test_more_relevant_items_than_places_can_still_be_a_perfect_list() -> None:
    found = measured([[1, 1]], [7], (2,))
    assert found["ndcg@2"] == found["precision@2"] == [pytest.approx(1)]
    assert found["recall@2"] == [pytest.approx(2 / 7)]


def test_a_catalogue_smaller_than_k_leaves_places_empty() -> None:
    found = measured([[1, 0]], [1], (10,))
    assert found["ndcg@10"] == found["hr@10"] == [1]
    assert found["precision@10"] == [pytest.approx(0.1)]


def test_a_request_without_a_relevant_item_is_refused() -> None:
    with pytest.raises(ValueError, match="1 requests have no relevant item"):
        measured([[0, 0], [1, 0]], [0, 1], (2,))


def test_requests_are_averaged_within_their_user() -> None:
    metrics = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 1.0]])
    users, values = per_user(metrics, np.array([7, 7, 3]))
    assert users.tolist() == [3, 7]
    assert values.tolist() == [[0.5, 1.0], [0.5, 0.0]]


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct scores (B, I) and which items are relevant, at least one in each row."""
    rows, items = draw(st.integers(1, 6)), draw(st.integers(2, 25))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = np.stack([random.permutation(items) for _ in range(rows)]).astype(np.float32)
    relevant = random.random((rows, items)) < draw(st.floats(0.05, 0.9))
    relevant[np.arange(rows), random.integers(0, items, rows)] = True
    return scores, relevant


def of(scores: np.ndarray, relevant: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    top, _ = top_k(scores, max(ks))
    return per_request(hits(top, relevant), relevant.sum(axis=1), ks)


@given(rankings(), st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_ndcg_is_that_of_scikit_learn(ranking, k: int) -> None:
    scores, relevant = ranking
    theirs = [
        ndcg_score([r.astype(float)], [s], k=k) for s, r in zip(scores, relevant, strict=True)
    ]
    np.testing.assert_allclose(of(scores, relevant, (k,))[:, 0], theirs, rtol=1e-9)


@given(rankings())
@settings(max_examples=40, deadline=None)
def test_mrr_over_the_whole_list_is_scikit_learns_with_one_relevant_item(ranking) -> None:
    scores, relevant = ranking
    first = relevant.argmax(axis=1)
    single = np.zeros_like(relevant)
    single[np.arange(len(single)), first] = True
    ours = of(scores, single, (scores.shape[1],))[:, NAMES.index("mrr")]
    theirs = label_ranking_average_precision_score(single.astype(int), scores)
    assert ours.mean() == pytest.approx(theirs)


@given(rankings())
@settings(max_examples=60, deadline=None)
def test_metrics_are_shares_and_grow_with_k_where_they_must(ranking) -> None:
    scores, relevant = ranking
    ks = tuple(range(1, scores.shape[1] + 1))
    values = of(scores, relevant, ks).reshape(len(scores), len(NAMES), len(ks))
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    for name in ("hr", "mrr", "recall"):
        assert (np.diff(values[:, NAMES.index(name)]) >= -1e-12).all(), name
    assert np.allclose(values[:, NAMES.index("recall"), -1], 1)  # the whole catalogue holds all


@given(rankings(), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_order_of_requests_and_of_items_does_not_matter(ranking, seed: int) -> None:
    scores, relevant = ranking
    random = np.random.default_rng(seed)
    rows, items = random.permutation(len(scores)), random.permutation(scores.shape[1])
    shuffled = of(scores[rows][:, items], relevant[rows][:, items], (3,))
    np.testing.assert_allclose(shuffled, of(scores, relevant, (3,))[rows])


def test_the_users_means_do_not_depend_on_the_order_of_requests() -> None:
    random = np.random.default_rng(5)
    metrics, users = random.random((50, 3)), random.integers(0, 9, 50)
    order = random.permutation(50)
    plain, mixed = per_user(metrics, users), per_user(metrics[order], users[order])
    np.testing.assert_array_equal(plain[0], mixed[0])
    np.testing.assert_allclose(plain[1], mixed[1])
