"""What lists are like beside being right: computed by hand and by brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.evaluation.metrics.exposure import (
    coverage,
    exposure,
    freshness,
    gini,
    intra_list_diversity,
    novelty,
    popularity_lift,
    serendipity,
)

LISTS = np.array([[0, 1], [0, -1], [-1, -1]])


def test_exposure_counts_what_is_shown_and_not_the_padding() -> None:
    shown = exposure(LISTS, 4)
    assert shown.tolist() == [2, 1, 0, 0]
    assert coverage(shown) == 0.5


def test_gini_by_hand_and_at_its_ends() -> None:
    assert gini(np.array([1, 1, 1, 1])) == 0
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(3 / 4)
    assert gini(np.array([1, 3])) == pytest.approx(1 / 4)
    assert math.isnan(gini(np.zeros(3, np.int64)))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_gini_is_the_mean_difference_of_all_pairs(counts: list[int]) -> None:
    values = np.array(counts)
    pairs = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(pairs / (2 * values.mean()))


def test_novelty_by_hand() -> None:
    found = novelty(LISTS, np.array([4, 1, 0, 0]), users=8)
    assert found[:2] == pytest.approx([(1 + 3) / 2, 1])
    assert math.isnan(found[2])
    assert novelty(np.array([[2]]), np.array([4, 1, 0, 0]), users=8)[0] == 4  # half a person of 8


def test_popularity_lift_by_hand() -> None:
    lift = popularity_lift(LISTS, np.array([10.0, 2.0, 0, 0]), np.array([3.0, 20.0, 1.0]))
    assert lift[:2] == pytest.approx([1.0, -0.5])
    assert math.isnan(lift[2])
    assert math.isnan(popularity_lift(LISTS[:1], np.ones(4), np.array([np.nan]))[0])


@given(st.integers(0, 200))
def test_diversity_is_the_mean_over_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((9, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[8] = 0
    row = rng.permutation(9)[:4]
    found = intra_list_diversity(np.array([[*row, -1]]), vectors)
    pairs = [1 - float(vectors[a] @ vectors[b]) for a, b in itertools.combinations(row, 2)]
    assert found[0] == pytest.approx(np.mean(pairs), abs=1e-5)


def test_diversity_of_fewer_than_two_items_is_undefined() -> None:
    found = intra_list_diversity(LISTS, np.eye(4, dtype=np.float32))
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()


def test_serendipity_counts_hits_that_nobody_would_have_expected() -> None:
    lists = np.array([[0, 5, 6], [7, 8, -1]])
    hits = np.array([[1, 1, 0], [1, 0, 0]], bool)
    found = serendipity(lists, hits, np.array([[0, 1], [1, 2]]))
    assert found == pytest.approx([1 / 3, 1 / 2])


def test_freshness_is_the_mean_age_where_it_is_known() -> None:
    day = 86_400_000
    born = np.array([0, 2 * day, -1, 9 * day])
    found = freshness(np.array([[0, 1, 2], [2, -1, -1], [3, -1, -1]]), born, np.full(3, 4 * day))
    assert found[0] == 3  # of ages 4 and 2; the third is not known
    assert math.isnan(found[1])
    assert found[2] == 0
