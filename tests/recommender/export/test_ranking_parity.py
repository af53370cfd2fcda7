"""The ranking head that looks at the history gives the same wherever it is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformer_by_hand import ACTIONS, CATALOGUE, HISTORY, histories, module

from recommender.artifact import Model
from recommender.config.actions import ActionsConfig
from recommender.config.ranking import RankingConfig, ValueConfig
from recommender.export import onnx_files
from recommender.export.onnx_scorer import OnnxScorer
from recommender.export.state_scorer import StateScorer
from recommender.features.sequences import Histories
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer

ATOL = 1e-5
RATING = ValueConfig(name="rating", events=("b", "c"), low=-50, high=50)
DWELL = ValueConfig(name="dwell", events=("a",), loss="gamma")
TARGET = RankingConfig(head="target", values=(RATING, DWELL))
NAMES = ("dwell", "rating", "rating")


def made(ranking: RankingConfig = TARGET, **shape: object) -> UnifiedTransformer:
    """Return a module whose values have been measured."""
    whole = module(ranking=ranking, **shape)
    if whole.action.values is not None:
        given_MG = torch.tensor([[1.0, 10.0], [4.0, 30.0], [float("nan"), 5.0]])
        whole.action.values.measure(("a", "b", "c"), given_MG)
    return whole


def same(ours: TransformerScorer, theirs: TransformerScorer, asked: Histories, seed: int) -> None:
    items = np.random.default_rng(seed).integers(0, 8, (len(asked), 5))
    np.testing.assert_allclose(
        ours.action_probabilities(asked, items),
        theirs.action_probabilities(asked, items),
        atol=ATOL,
    )
    expected = theirs.expected_values(asked, items)
    assert np.isfinite(expected).all()
    # Of `gamma` the forecast is exp(x): an error of 1e-5 in x is one of 1e-5 of the forecast, and x
    # is some ten here.
    np.testing.assert_allclose(ours.expected_values(asked, items), expected, rtol=1e-4, atol=ATOL)


@pytest.mark.parametrize(
    "shape",
    [{}, {"layers": 1}, {"request_time": False}, {"time_bias": False}],
    ids=["all", "one block", "no request", "no time bias"],
)
def test_reading_once_gives_what_the_whole_module_gives(shape) -> None:
    whole = made(**shape)
    ours, theirs = StateScorer(whole, CATALOGUE), TransformerScorer(whole, CATALOGUE)
    assert ours.value_names == theirs.value_names == NAMES
    for seed, lengths in enumerate([[0], [1], [0, 0], [3, 0, 1, HISTORY, 7], [40, 2]]):
        same(ours, theirs, histories(lengths, seed), seed)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 99),
    visits=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    keys_values=st.booleans(),
)
def test_a_history_that_grows_answers_candidates_from_what_is_kept(
    seed: int, visits: list[int], keys_values: bool
) -> None:
    whole = made()
    ours = StateScorer(whole, CATALOGUE, keys_values=keys_values)
    theirs = TransformerScorer(whole, CATALOGUE)
    full, length = histories([HISTORY], seed), 1
    for more in visits:
        length = min(length + more, HISTORY)
        asked = Histories(
            full.items[:length],
            full.actions[:length],
            full.times[:length],
            full.values[:length],
            np.array([0, length]),
            full.now,
        )
        same(ours, theirs, asked, seed)
    if keys_values:
        assert ours.states.misses == 1


def test_the_answers_of_one_history_count_as_memory_that_is_kept() -> None:
    plain, target = (StateScorer(made(ranking), CATALOGUE) for ranking in (RankingConfig(), TARGET))
    asked = histories([HISTORY])
    for scorer in (plain, target):
        scorer.scores(asked)
    width = target.module.config.width
    assert target.states.size - plain.states.size == 2 * 4 * width * (HISTORY + 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "ranking", [TARGET, TARGET.model_copy(update={"head": "plain"})], ids=["target", "plain"]
)
def test_onnx_gives_what_the_whole_module_gives(tmp_path: Path, ranking: RankingConfig) -> None:
    whole = TransformerScorer(made(ranking), CATALOGUE)
    Model(whole, tuple(CATALOGUE.ids), ActionsConfig(types=("a", "b", "c")), HISTORY).save(
        tmp_path / "model"
    )
    onnx_files.write(whole.module, tmp_path / "model")
    served = OnnxScorer(Model.load(tmp_path / "model").scorer, tmp_path / "model")  # type: ignore[arg-type]
    assert served.value_names == NAMES
    for seed, lengths in enumerate([[0], [1], [3, 0, 1, HISTORY, 7], [40, 2]]):
        asked = histories(lengths, seed)
        np.testing.assert_allclose(served.scores(asked), whole.scores(asked), atol=ATOL)
        same(served, whole, asked, seed)
        # Without a list before it, too.
        same(OnnxScorer(whole, tmp_path / "model"), whole, asked, seed)

    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "model" / "rank.onnx")
    outputs = [output.name for output in session.get_outputs()]
    assert outputs == ["scores", "action_logits", "values"]
    asked = histories([5])
    parts = {"items": asked.items, "actions": asked.actions, "times": asked.times}
    candidates = np.array([[0, 5, 9]])
    feeds = {name: part[None].astype(np.int64) for name, part in parts.items()}
    feeds |= {"lengths": asked.lengths, "now": asked.now, "candidates": candidates}
    _, logits, values = session.run(None, feeds)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert chances.shape == (1, 3, ACTIONS)
    np.testing.assert_allclose(chances, whole.action_probabilities(asked, candidates), atol=ATOL)
    np.testing.assert_allclose(values, whole.expected_values(asked, candidates), rtol=1e-4)
