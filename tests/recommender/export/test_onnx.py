"""Both entry points in other runtimes: the same answers, one copy of the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformer_by_hand import ACTIONS, CATALOGUE, HISTORY, histories, module

from recommender.artifact import Model
from recommender.config.actions import ActionsConfig
from recommender.config.compute import ComputeConfig
from recommender.errors import ArtifactError
from recommender.export import onnx_files
from recommender.export.engines import engine_for
from recommender.export.onnx_scorer import OnnxScorer, _feeds
from recommender.export.programs import program
from recommender.features.sequences import Histories
from recommender.model.scorer import TransformerScorer

# Exporting takes torch about ten seconds for each entry point.
pytestmark = pytest.mark.slow

ATOL = 1e-5
KINDS = ActionsConfig(types=["seen", "click", "buy"], history=["click", "buy"])
BATCHES = [[0], [1], [HISTORY], [0, 0, 0], [4, 0, 1, HISTORY, 7]]


@pytest.fixture(scope="module")
def folder(whole: TransformerScorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("made") / "model"
    titles = tuple(f"Thing {row}" for row in range(len(CATALOGUE)))
    Model(whole, titles, KINDS, HISTORY).save(made)
    onnx_files.write(whole.module, made)
    return made


@pytest.fixture(scope="module")
def served(whole: TransformerScorer, folder: Path) -> OnnxScorer:
    return OnnxScorer(whole, folder)


@pytest.fixture(scope="module")
def program_of(whole: TransformerScorer):
    return program(whole.module, "retrieve").module()


def feeds(whole: TransformerScorer, asked: Histories) -> dict[str, np.ndarray]:
    ((_, padded, contexts),) = whole._batches(asked)
    return _feeds(padded, contexts.position.numpy(), contexts.now.numpy())


@pytest.mark.parametrize("lengths", BATCHES, ids=str)
def test_onnx_gives_the_scores_and_the_actions_of_the_module(whole, served, lengths) -> None:
    for seed in range(3):
        asked = histories(lengths, seed)
        items = np.random.default_rng(seed).integers(0, len(CATALOGUE), (len(lengths), 5))
        np.testing.assert_allclose(served.scores(asked), whole.scores(asked), atol=ATOL)
        np.testing.assert_allclose(
            served.action_probabilities(asked, items),
            whole.action_probabilities(asked, items),
            atol=ATOL,
        )


@pytest.mark.parametrize(
    "shape",
    [
        {"block": "hstu", "position": "rotary", "similarity": "cosine"},
        {"position": "absolute", "bias_per_layer": True, "text_match": True},
    ],
    ids=["hstu, rotary, cosine", "absolute, bias per layer, text match"],
)
def test_onnx_gives_the_scores_of_other_shapes(tmp_path, shape) -> None:
    other = TransformerScorer(module(**shape), CATALOGUE)
    Model(other, CATALOGUE.ids, KINDS, HISTORY).save(tmp_path / "model")
    onnx_files.write(other.module, tmp_path / "model")
    served = OnnxScorer(other, tmp_path / "model")
    for lengths in BATCHES:
        asked = histories(lengths)
        np.testing.assert_allclose(served.scores(asked), other.scores(asked), atol=ATOL)


def test_actions_without_scores_before_them_read_the_history_themselves(whole, folder) -> None:
    asked, items = histories([4, 9], 5), np.array([[1, 2], [3, 3]])
    fresh = OnnxScorer(whole, folder)
    np.testing.assert_allclose(
        fresh.action_probabilities(asked, items),
        whole.action_probabilities(asked, items),
        atol=ATOL,
    )


def test_what_is_kept_of_histories_stays_within_the_bound_of_the_configuration(
    whole, folder
) -> None:
    compute = ComputeConfig(engine="onnx", states_mb=0.005)
    served = engine_for(whole, folder, compute)
    assert isinstance(served, OnnxScorer)
    for seed in range(8):
        asked, items = histories([3, 7], seed), np.array([[1, 2], [3, 3]])
        served.scores(asked)
        np.testing.assert_allclose(
            served.action_probabilities(asked, items),
            whole.action_probabilities(asked, items),
            atol=ATOL,
        )
    assert 0 < served.kept.size <= 0.005 * 2**20
    assert 0 < len(served.kept) < 16


@pytest.mark.parametrize("lengths", [[0], [5], [HISTORY]], ids=str)
def test_a_program_of_torch_gives_the_same_and_the_best_items(whole, program_of, lengths) -> None:
    asked = histories(lengths)
    tensors = tuple(torch.from_numpy(np.asarray(part)) for part in feeds(whole, asked).values())
    with torch.no_grad():
        state, scores, best, best_scores = program_of(*tensors)
    expected = whole.scores(asked)
    np.testing.assert_allclose(scores.numpy(), expected, atol=ATOL)
    np.testing.assert_allclose(best_scores.numpy(), -np.sort(-expected), atol=ATOL)
    np.testing.assert_allclose(
        np.take_along_axis(expected, best.numpy(), 1), best_scores.numpy(), atol=ATOL
    )
    assert state.shape == (1, whole.module.config.width)


def test_ranking_candidates_gives_their_scores_and_what_is_done_with_them(whole, folder) -> None:
    import onnxruntime

    asked = histories([6, 2, 0])
    candidates = np.array([[0, 5, 9, 9], [36, 1, 2, 3], [4, 4, 0, 1]])
    session = onnxruntime.InferenceSession(folder / "rank.onnx")
    scores, logits = session.run(None, {**feeds_in_order(whole, asked), "candidates": candidates})
    rows = np.arange(3)[:, None]
    np.testing.assert_allclose(scores, whole.scores(asked)[rows, candidates], atol=ATOL)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert chances.shape == (3, 4, ACTIONS)
    np.testing.assert_allclose(chances, whole.action_probabilities(asked, candidates), atol=ATOL)


def feeds_in_order(whole: TransformerScorer, asked: Histories) -> dict[str, np.ndarray]:
    """Return what a graph reads, in the order of `asked` (batches are sorted by length)."""
    lengths = asked.lengths
    width = max(3, int(lengths.max()))
    inside = np.arange(width) < lengths[:, None]
    made = {}
    for name, part in (("items", asked.items), ("actions", asked.actions), ("times", asked.times)):
        made[name] = np.zeros(inside.shape, np.int64)
        made[name][inside] = part
    return {**made, "lengths": lengths, "now": asked.now}


def test_weights_are_stored_once(whole, folder) -> None:
    text = (folder / "retrieve.onnx").read_bytes()
    assert whole.module.tower.id_ID.detach().numpy().tobytes() not in text
    assert (folder / "retrieve.onnx").stat().st_size < 2**20


def test_files_of_other_weights_are_not_written(folder, tmp_path) -> None:
    other = module(width=24)
    (tmp_path / "weights.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match="other weights than the module"):
        onnx_files.write(other, tmp_path)


def test_a_file_that_is_cut_or_missing_says_so(whole, folder, tmp_path) -> None:
    with pytest.raises(ArtifactError, match=r"retrieve\.onnx can't be served"):
        OnnxScorer(whole, tmp_path)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "actions.onnx").write_bytes((folder / "actions.onnx").read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"actions\.onnx can't be served"):
        OnnxScorer(whole, tmp_path)
