"""Click and conversion metrics: by hand, by their properties, and by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from recommender.evaluation.metrics.classification import auc, confusion, log_loss, user_auc


def _drawn(seed: int, count: int = 200, distinct: int = 20):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.3
    labels[:2] = [True, False]
    return labels, rng.integers(0, distinct, count) / distinct, rng.integers(0, 12, count)


def test_auc_by_hand_with_a_tie() -> None:
    # Pairs (positive, negative): .9 > .4, .9 > .1, .4 = .4 counts half, .4 > .1.
    assert auc(np.array([1, 1, 0, 0], bool), np.array([0.9, 0.4, 0.4, 0.1])) == 3.5 / 4


@given(st.integers(0, 500))
def test_auc_is_that_of_scikit_learn(seed: int) -> None:
    labels, scores, _ = _drawn(seed)
    assert auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))


@given(st.integers(0, 500))
def test_only_the_order_of_scores_counts(seed: int) -> None:
    labels, scores, users = _drawn(seed)
    assert user_auc(users, labels, scores).value == user_auc(users, labels, np.exp(scores)).value
    assert auc(labels, scores) + auc(labels, -scores) == pytest.approx(1)


@given(st.integers(0, 200))
def test_the_grouped_auc_is_the_weighted_mean_of_each_persons(seed: int) -> None:
    labels, scores, users = _drawn(seed)
    found = user_auc(users, labels, scores)
    each, weights, one_class = [], [], 0
    for user in np.unique(users):
        mine = users == user
        if labels[mine].all() or not labels[mine].any():
            one_class += 1
            continue
        each.append(sklearn_metrics.roc_auc_score(labels[mine], scores[mine]))
        weights.append(mine.sum())
    assert found.one_class == one_class
    assert found.each == pytest.approx(each)
    assert found.value == pytest.approx(np.average(each, weights=weights))


def test_knowing_who_clicks_a_lot_earns_nothing_within_people() -> None:
    users = np.repeat([0, 1], 50)
    labels = np.concatenate([np.arange(50) % 10 != 0, np.arange(50) % 10 == 0])
    scores = np.where(users == 0, 0.9, 0.1)  # knows who, and nothing else
    assert auc(labels, scores) == pytest.approx(0.9)
    assert user_auc(users, labels, scores).value == 0.5


def test_one_class_is_undefined_and_nan_scores_are_refused() -> None:
    assert math.isnan(auc(np.ones(3, bool), np.arange(3.0)))
    assert math.isnan(user_auc(np.arange(3), np.array([1, 0, 1], bool), np.arange(3.0)).value)
    assert user_auc(np.empty(0, np.int64), np.empty(0, bool), np.empty(0)).one_class == 0
    with pytest.raises(ValueError, match="1 scores are NaN"):
        auc(np.array([True, False]), np.array([np.nan, 1.0]))


@given(st.integers(0, 200))
def test_log_loss_is_that_of_scikit_learn(seed: int) -> None:
    labels, scores, _ = _drawn(seed)
    assert log_loss(labels, scores) == pytest.approx(sklearn_metrics.log_loss(labels, scores))


def test_certainty_that_was_wrong_is_finite() -> None:
    assert math.isfinite(log_loss(np.array([True]), np.array([0.0])))


@given(st.integers(0, 200), st.floats(0.05, 0.95))
def test_decisions_are_those_of_scikit_learn(seed: int, threshold: float) -> None:
    labels, scores, _ = _drawn(seed)
    decided, found = scores >= threshold, confusion(labels, scores, threshold)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, decided))
    if decided.any():
        assert found.precision == pytest.approx(sklearn_metrics.precision_score(labels, decided))
        assert found.f1 == pytest.approx(sklearn_metrics.f1_score(labels, decided))
    else:
        assert math.isnan(found.precision)
    assert found.recall == pytest.approx(sklearn_metrics.recall_score(labels, decided))
