"""Slate estimators against lists whose readers are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from recommender.evaluation.off_policy.slates import (
    cascade,
    cascade_doubly_robust,
    independent,
    whole,
)

ITEMS, PLACES = 3, 2
LOGGING = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])  # by place, independent of each other
TARGET = np.array([[0.2, 0.2, 0.6], [0.6, 0.3, 0.1]])
APPEAL = np.array([0.1, 0.4, 0.7])
LISTS = np.array(list(itertools.product(range(ITEMS), repeat=PLACES)))


def _probability(policy):
    return policy[0, LISTS[:, 0]] * policy[1, LISTS[:, 1]]


def _weights():
    places = np.arange(PLACES)
    return (TARGET / LOGGING)[places, LISTS]


def _independent_reader():
    return APPEAL[LISTS] * [1.0, 0.5]


def _cascade_reader():
    """Whoever clicks at the top doesn't look further; a poor top item bores."""
    first = APPEAL[LISTS[:, 0]]
    return np.stack([first, (1 - first) * first * APPEAL[LISTS[:, 1]]], axis=1)


def _whole_reader():
    """The second item spoils or lifts the first."""
    together = np.where(LISTS[:, 0] == LISTS[:, 1], 0.1, 1.0)
    return np.stack([APPEAL[LISTS[:, 0]] * together, APPEAL[LISTS[:, 1]] * together], axis=1)


def _truth(rewards):
    return float(_probability(TARGET) @ rewards.sum(axis=1))


def _expectation(terms):
    """Exactly: over all lists that the logging policy may show."""
    return float(_probability(LOGGING) @ terms)


@pytest.mark.parametrize(
    ("reader", "right"),
    [
        (_independent_reader, {independent, cascade, whole}),
        (_cascade_reader, {cascade, whole}),
        (_whole_reader, {whole}),
    ],
)
def test_an_estimator_is_unbiased_exactly_where_its_assumption_holds(reader, right):
    rewards = reader()
    for estimator in (independent, cascade, whole):
        unbiased = _expectation(estimator(rewards, _weights())) == pytest.approx(_truth(rewards))
        assert unbiased == (estimator in right), estimator.__name__


def _model(rewards, error):
    """Q_k and its expectation under the target, from the truth plus an error."""
    second = {tuple(row): reward for row, reward in zip(LISTS.tolist(), rewards[:, 1], strict=True)}
    follow = np.array(
        [sum(TARGET[1, b] * second[a, b] for b in range(ITEMS)) for a in range(ITEMS)]
    )
    first = {row[0]: reward for row, reward in zip(LISTS.tolist(), rewards[:, 0], strict=True)}
    top = np.array([first[a] for a in range(ITEMS)]) + follow + error
    predicted = np.stack([top[LISTS[:, 0]], rewards[:, 1] + error], axis=1)
    expected = np.stack([np.full(len(LISTS), TARGET[0] @ top), follow[LISTS[:, 0]] + error], axis=1)
    return predicted, expected


@pytest.mark.parametrize("error", [0.0, 0.3])
def test_the_doubly_robust_cascade_is_unbiased_whatever_its_model(error):
    rewards = _cascade_reader()
    terms = cascade_doubly_robust(rewards, _weights(), *_model(rewards, error))
    assert _expectation(terms) == pytest.approx(_truth(rewards))


def test_with_a_right_model_the_doubly_robust_cascade_has_no_variance_left_but_the_clicks():
    rewards = _cascade_reader()
    terms = cascade_doubly_robust(rewards, _weights(), *_model(rewards, 0.0))
    assert terms == pytest.approx(np.full(len(LISTS), _truth(rewards)))


def test_places_that_were_not_shown_change_nothing():
    rewards, weights = _cascade_reader(), _weights()
    longer = np.concatenate([rewards, np.zeros((len(LISTS), 2))], axis=1)
    padded = np.concatenate([weights, np.ones((len(LISTS), 2))], axis=1)
    for estimator in (independent, cascade, whole):
        assert estimator(longer, padded) == pytest.approx(estimator(rewards, weights))
