"""Reasons for scores: they add up, and they are what was really read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tables_by_hand import configuration
from taste_shop import DAY, NOW, scorer

from recommender.baselines.item_knn import ItemKNN
from recommender.baselines.popularity import Popularity
from recommender.explain import EVENTS, explain, modalities
from recommender.explain.events import leave_one_out, units
from recommender.features.sequences import Catalogue, Histories

THREE = Catalogue(("a", "b", "c"))
HISTORY = Histories.of(
    [([1, 6, 2, 6], [2, 3, 2, 2], [NOW - 3 * DAY, NOW - DAY, NOW - DAY, NOW - 5])], [NOW]
)
ITEMS = np.array([3, 6, 9])


@st.composite
def games(draw):
    """Any function of which events there are: a table of all subsets."""
    events = draw(st.integers(0, 5))
    numbers = st.floats(-50, 50, allow_nan=False)
    table = draw(arrays(np.float64, (2**events, 2), elements=numbers))
    powers = 2 ** np.arange(events)
    return events, lambda keep_NT: table[keep_NT @ powers]


@given(games())
@settings(max_examples=60, deadline=None)
def test_the_weights_add_up_to_what_the_history_adds_whatever_the_model(game):
    events, value = game
    found = leave_one_out(value, events)
    assert found.weights.shape == (events, 2)
    np.testing.assert_allclose(found.weights.sum(axis=0), found.scores - found.base, atol=1e-9)


@given(arrays(np.float64, 4, elements=st.floats(-9, 9)))
def test_where_events_only_add_up_each_gets_what_it_adds(worth):
    def value(keep_NT):
        return (keep_NT @ worth)[:, None] + 3

    found = leave_one_out(value, 4)
    np.testing.assert_allclose(found.weights[:, 0], worth, atol=1e-9)
    assert found.base.tolist() == [3]


def test_two_events_that_tell_the_same_share_what_they_tell():
    def either(keep_NT):
        return keep_NT[:, :2].any(axis=1, keepdims=True) * 6.0

    # Without either nothing is lost, so what they tell is shared out among all three evenly.
    assert leave_one_out(either, 3).weights.ravel().tolist() == [2, 2, 2]


def test_co_occurrence_is_explained_by_the_items_that_occurred_together():
    neighbours = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    similar = np.array([[0.5, 0.0], [0.5, 0.25], [0.0, 0.25]], np.float32)
    knn = ItemKNN(THREE, neighbours, similar, np.zeros(3, np.float32), None)
    history = Histories.of([([0, 2], [1, 1], [1, 2])], [9])
    found = explain(knn, history, np.array([1]))
    np.testing.assert_allclose(found.weights[:, 0], [0.5, 0.25], atol=1e-6)
    read = modalities(knn, history, np.array([1]), 1)
    # It reads neither actions nor times.
    assert list(read.parts) == [EVENTS]
    assert read.parts[EVENTS].tolist() == pytest.approx([0.75])


def test_popularity_is_explained_by_nothing_that_somebody_did():
    popular = Popularity(THREE, np.array([3, 2, 1], np.float32))
    history = Histories.of([([0, 2], [1, 1], [1, 2])], [9])
    found = explain(popular, history, np.array([0, 1]))
    assert not found.weights.any()
    assert found.base.tolist() == found.scores.tolist() == [3, 2]
    read = modalities(popular, history, np.array([0, 1]), 1)
    assert (read.parts, read.floor.tolist()) == ({}, [3, 2])


def test_the_scores_explained_are_the_models_own(tmp_path):
    model = scorer(configuration(tmp_path))
    nothing = Histories.of([([], [], [])], [NOW])
    found = explain(model, HISTORY, ITEMS)
    np.testing.assert_allclose(found.scores, model.scores(HISTORY)[0, ITEMS], atol=1e-4)
    np.testing.assert_allclose(found.base, model.scores(nothing)[0, ITEMS], atol=1e-4)
    np.testing.assert_allclose(found.weights.sum(axis=0), found.scores - found.base, atol=1e-9)
    empty = explain(model, nothing, ITEMS)
    assert empty.weights.shape == (0, 3)


@given(st.integers(0, 300))
def test_a_long_history_is_left_out_in_few_units_the_newest_one_by_one(events):
    unit_T = units(events)
    assert len(unit_T) == events
    sizes = np.bincount(unit_T)
    assert len(sizes) <= 64
    assert (np.diff(unit_T) >= 0).all()
    assert (sizes[-48:] == 1).all()
    assert not len(sizes) or sizes.min() > 0
    assert events < 64 or np.ptp(sizes[:16]) <= 1


def test_the_weights_of_a_long_history_add_up_too(tmp_path):
    neighbours = np.array([[1, 2], [0, 2], [0, 1]], np.int32)
    similar = np.array([[0.5, 0.0], [0.5, 0.25], [0.0, 0.25]], np.float32)
    knn = ItemKNN(THREE, neighbours, similar, np.zeros(3, np.float32), 20.0)
    events = 150
    history = Histories.of([([0, 2] * 75, [1] * events, range(events))], [999])
    found = explain(knn, history, np.array([1]))
    assert found.weights.shape == (events, 1)
    np.testing.assert_allclose(found.weights.sum(axis=0), found.scores - found.base, atol=1e-6)
    # Old events weigh less, as they do in this model.
    assert found.weights[:50].mean() < found.weights[-50:].mean() / 4
