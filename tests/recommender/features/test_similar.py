"""The k most similar items are the right ones, to the last tie, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.errors import FeatureError
from recommender.features import similar
from recommender.features.similar import Nearest, SimilarItems, nearest

# Few distinct vectors, so that ties and vectors that point away are the rule.
VECTORS = np.array(
    [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0, 0], [-1, 0, 0, 0], [0, 0, 0, -1]],
    np.float32,
)
SPARSE = st.lists(st.integers(0, len(VECTORS) - 1), min_size=1, max_size=30)


def brute_force(ids, vectors, query, k, without=None):
    """What is meant, in the plainest words."""
    scored = []
    for item, vector in zip(ids, vectors.astype(np.float64), strict=True):
        if item == without or not vector.any():
            continue
        cosine = (vector * query).sum() / np.sqrt((vector**2).sum()) / np.linalg.norm(query)
        scored.append((-round(cosine, 12), item))
    return [item for _, item in sorted(scored)[:k]]


@settings(deadline=None)
@given(SPARSE, st.data())
def test_few_vectors_with_many_ties_are_ranked_as_a_brute_force_search_does(kinds, data):
    ids = data.draw(st.permutations([f"i{n:02}" for n in range(len(kinds))]))
    vectors = VECTORS[kinds]
    query = VECTORS[data.draw(st.integers(1, len(VECTORS) - 1))].astype(np.float64)
    k = data.draw(st.integers(1, 12))
    without = data.draw(st.sampled_from([None, *ids]))
    size = data.draw(st.integers(1, 9))
    blocks = [(ids[n : n + size], vectors[n : n + size]) for n in range(0, len(ids), size)]
    found = nearest(blocks, query.astype(np.float32), k, without)
    assert [each.item_id for each in found] == brute_force(ids, vectors, query, k, without)
    assert all(-1 <= each.cosine <= 1 for each in found)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 100))
def test_random_vectors_are_ranked_as_a_brute_force_search_does(seed, k, width):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((50, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(50) < 0.2] = 0
    vectors[40:] = vectors[:10]  # the same text again
    ids = [f"i{n:02}" for n in rng.permutation(50)]
    query = rng.standard_normal(width).astype(np.float32)
    found = SimilarItems(ids, vectors).to_vector(query, k)
    assert [each.item_id for each in found] == brute_force(ids, vectors, query, k)


def test_vectors_that_single_precision_cannot_tell_apart_are_ranked_by_double_precision():
    rng = np.random.default_rng(3)
    query = rng.standard_normal(384)
    query /= np.linalg.norm(query)
    aside = rng.standard_normal(384)
    aside -= (aside @ query) * query
    aside /= np.linalg.norm(aside)
    # 200 cosines that differ in the seventh place.
    made = [query + (0.5 + 1e-8 * n) * aside for n in rng.permutation(200)]
    vectors = np.array([each / np.linalg.norm(each) for each in made], np.float32)
    ids = [f"i{n:03}" for n in range(200)]
    asked = query.astype(np.float32)
    found = SimilarItems(ids, vectors).to_vector(asked, 10)
    rows = vectors.astype(np.float64)
    exact = rows @ asked.astype(np.float64) / np.linalg.norm(rows, axis=1)
    assert [each.item_id for each in found] == [ids[n] for n in np.argsort(-exact)[:10]]
    # Single precision alone would have been wrong.
    assert [ids[n] for n in np.argsort(-(vectors @ asked), kind="stable")[:10]] != [
        each.item_id for each in found
    ]


def test_equal_texts_have_equal_cosines_wherever_they_stand(monkeypatch):
    monkeypatch.setattr(similar, "BLOCK", 7)
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.standard_normal((1, 383)).astype(np.float32), 50, axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = SimilarItems([f"i{n:02}" for n in range(50)][::-1], vectors)
    found = items.to_item("i20", 30)
    assert [each.item_id for each in found] == [f"i{n:02}" for n in range(31) if n != 20]
    assert {each.cosine for each in found} == {found[0].cosine}
    assert found[0].cosine == pytest.approx(1)


def test_an_item_without_text_is_similar_to_nothing():
    items = SimilarItems(["a", "b", "mute"], VECTORS[[1, 4, 0]])
    assert [each.item_id for each in items.to_item("a", 5)] == ["b"]
    with pytest.raises(FeatureError, match="no vector to compare with") as told:
        items.to_item("mute", 5)
    assert "without any text" in told.value.hint


def test_what_is_not_finite_is_left_out():
    vectors = VECTORS[[1, 1, 3]].copy()
    vectors[1, 2] = np.nan
    assert [each.item_id for each in SimilarItems("abc", vectors).to_item("a", 2)] == ["c"]
    with pytest.raises(FeatureError, match="not finite"):
        SimilarItems("abc", vectors).to_item("b", 2)


def test_what_cannot_be_asked_is_said():
    items = SimilarItems(["a", "b"], VECTORS[[1, 2]])
    with pytest.raises(FeatureError, match="no item 'c'") as told:
        items.to_item("c", 1)
    assert "'a'" in told.value.hint
    with pytest.raises(FeatureError, match="0 similar items"):
        items.to_item("a", 0)
    with pytest.raises(FeatureError, match="width 4 can't be compared with one of width 3"):
        items.to_vector(np.ones(3, np.float32), 1)
    with pytest.raises(ValueError, match="1 ids for 2 vectors"):
        SimilarItems(["a"], VECTORS[[1, 2]])


def test_fewer_items_than_asked_for_are_all_there_is():
    found = Nearest(VECTORS[1], 10)
    assert found.best() == []
    found.add(["b", "a"], VECTORS[[2, 1]])
    assert [each.item_id for each in found.best()] == ["a", "b"]
