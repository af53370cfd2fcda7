"""The best items: exactly in blocks, nearly by FAISS, and what a model makes of what was found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clusters import catalogue
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config.compute import ComputeConfig
from recommender.config.model import ModelConfig
from recommender.export.state_scorer import StateScorer
from recommender.features.sequences import Catalogue, Histories
from recommender.model.transformer import UnifiedTransformer
from recommender.ranking import rank
from recommender.scoring import top_k
from serving.index.approximate import ApproximateIndex, recall_of
from serving.index.choosing import ranking_for
from serving.index.exact import ExactIndex
from serving.index.retriever import Retriever

ITEMS = 300
NOW = 1_700_000_000_000


@settings(max_examples=40, deadline=None)
@given(
    items=st.integers(1, 60), block=st.integers(1, 70), k=st.integers(1, 70), seed=st.integers(0, 9)
)
def test_blocks_find_what_one_matrix_product_finds(items, block, k, seed) -> None:
    rng = np.random.default_rng(seed)
    # Small whole numbers: many ties, and no rounding that depends on the block.
    vectors = rng.integers(-2, 3, (items, 3)).astype(np.float32)
    queries = rng.integers(-2, 3, (4, 3)).astype(np.float32)
    found, scores = ExactIndex(vectors, block).search(queries, k)
    expected, best = top_k(queries @ vectors.T, k)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scores, best)


def test_recall_counts_what_was_found() -> None:
    wanted = np.array([[1, 2], [3, 4]])
    assert recall_of(np.array([[2, 1], [3, 9]]), wanted) == 0.75


def test_an_approximate_index_reaches_its_recall_on_queries_it_was_not_set_by() -> None:
    items, queries = catalogue(20_000, 16)
    index = ApproximateIndex(items, queries(128, 1))
    asked = queries(128, 2)
    found, scores = index.search(asked, 100)
    wanted, _ = ExactIndex(items).search(asked, 100)
    assert index.recall >= 0.99
    assert recall_of(found, wanted) >= 0.985
    assert index.probes < index.groups / 2
    np.testing.assert_allclose(scores, np.einsum("bkd,bd->bk", items[found], asked), rtol=1e-4)


def test_a_small_catalogue_is_refused() -> None:
    items, queries = catalogue(100, 8)
    with pytest.raises(ValueError, match="100 items are too few"):
        ApproximateIndex(items, queries(4, 1))


@pytest.fixture(scope="module")
def scorer() -> StateScorer:
    return made(ITEMS)


def made(items: int) -> StateScorer:
    torch.manual_seed(1)
    module = UnifiedTransformer(
        ModelConfig(width=16, heads=2, layers=1, history=8),
        2,
        torch.randn(items, 8),
        torch.ones(items, dtype=torch.bool),
        torch.randn(items, 4),
        repeats=True,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return StateScorer(module, Catalogue(tuple(f"i{row}" for row in range(items))))


def histories(lengths: list[int]) -> Histories:
    rng = np.random.default_rng(2)
    rows = [
        (
            rng.integers(0, 9, n).tolist(),
            rng.integers(1, 3, n).tolist(),
            np.sort(rng.integers(NOW - 10**9, NOW, n)).tolist(),
        )
        for n in lengths
    ]
    return Histories.of(rows, [NOW] * len(lengths))


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"unwanted": [(0, 5), (2, 7), (2, 8)]},
        {"among": {1: np.arange(20)}},
        {"exactly": {3: np.array([7, 3, 250])}, "unwanted": [(3, 7), (0, 250)]},
        {"unwanted": [(0, item) for item in range(ITEMS - 3)]},
    ],
    ids=["whole", "unwanted", "categories", "candidates", "hardly any left"],
)
def test_with_an_exact_index_the_lists_are_those_of_scoring_everything(
    scorer: StateScorer, more: dict, exclude_seen: bool
) -> None:
    asked = histories([3, 0, 12, 8])
    limits = {"reads": 8, "exclude_seen": exclude_seen, **more}
    ours = Retriever(scorer, ExactIndex(scorer.item_vectors()))(scorer, asked, 10, **limits)
    theirs = rank(scorer, asked, 10, **limits)
    shown = np.isfinite(theirs.scores)
    np.testing.assert_array_equal(np.isfinite(ours.scores), shown)
    np.testing.assert_array_equal(ours.items[shown], theirs.items[shown])
    np.testing.assert_allclose(ours.scores[shown], theirs.scores[shown], atol=1e-5)


def test_an_index_that_finds_too_little_costs_time_and_not_items(scorer: StateScorer) -> None:
    class Poor:
        def search(self, queries, k):
            return np.full((len(queries), k), -1), np.zeros((len(queries), k), np.float32)

    asked = histories([3, 5])
    ours = Retriever(scorer, Poor())(scorer, asked, 10, reads=8, exclude_seen=True)
    theirs = rank(scorer, asked, 10, reads=8, exclude_seen=True)
    np.testing.assert_array_equal(ours.items, theirs.items)


def test_a_large_catalogue_is_ranked_by_an_index_and_a_small_one_is_not(
    scorer: StateScorer,
) -> None:
    assert ranking_for(scorer, ComputeConfig()) is rank
    large = made(5_000)
    ranking = ranking_for(large, ComputeConfig(approximate_from=4_096))
    assert isinstance(ranking, Retriever)
    asked = histories([3, 1, 8, 5])
    ours = ranking(large, asked, 100, reads=8, exclude_seen=True)
    theirs = rank(large, asked, 100, reads=8, exclude_seen=True)
    shares = [np.isin(a, b).mean() for a, b in zip(theirs.items, ours.items, strict=True)]
    assert np.mean(shares) >= 0.95
    # What is shown has its exact score, and is in order.
    scores = large.scores(asked)
    rows = np.arange(4)[:, None]
    np.testing.assert_allclose(ours.scores, scores[rows, ours.items], atol=1e-5)
    assert (np.diff(ours.scores, axis=1) <= 0).all()
