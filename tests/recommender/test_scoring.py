"""Top-k is exact, and ties always go the same way."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recommender.features.sequences import Histories
from recommender.scoring import mask_seen, top_k

SCORES_BI = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(0, 12)),
    # Few values, so that ties are the rule; -inf is what a masked item has.
    elements=st.sampled_from([0.0, 1.0, 2.5, -3.0, -np.inf]),
)


@given(SCORES_BI, st.integers(0, 15))
def test_the_answer_is_that_of_a_stable_sort_of_the_whole_catalogue(scores_BI, k):
    items_BK, best_BK = top_k(scores_BI, k)
    wanted_BK = np.argsort(-scores_BI, axis=1, kind="stable")[:, :k]
    assert items_BK.tolist() == wanted_BK.tolist()
    assert best_BK.tolist() == np.take_along_axis(scores_BI, wanted_BK, 1).tolist()
    assert (items_BK.dtype, best_BK.dtype) == (np.int64, np.float32)


def test_ties_go_to_the_item_that_comes_first_in_the_catalogue():
    items_BK, _ = top_k(np.array([[1, 3, 3, 3, 2]], np.float32), 2)
    assert items_BK.tolist() == [[1, 2]]


def test_more_than_the_catalogue_has_is_the_whole_catalogue():
    items_BK, best_BK = top_k(np.array([[1.0, 2.0]], np.float32), 10)
    assert (items_BK.tolist(), best_BK.tolist()) == ([[1, 0]], [[2.0, 1.0]])


def test_the_scores_are_left_as_they_were():
    scores_BI = np.array([[3, 1, 2]], np.float32)
    top_k(scores_BI, 2)
    assert scores_BI.tolist() == [[3, 1, 2]]


def test_seen_items_are_masked_in_their_own_row_only():
    scores_BI = np.ones((3, 4), np.float32)
    histories = Histories.of(
        [([1, 1, 3], [1, 1, 1], [1, 2, 3]), ([], [], []), ([0], [1], [1])], now=[9, 9, 9]
    )
    mask_seen(scores_BI, histories)
    assert np.isneginf(scores_BI).tolist() == [
        [False, True, False, True],
        [False, False, False, False],
        [True, False, False, False],
    ]
