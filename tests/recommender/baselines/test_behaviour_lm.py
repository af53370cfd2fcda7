"""Language models over a history's words: they learn what follows, and never read ahead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rival_worlds import HOUR, LIKED, asked_in_ring, config_of, ring

from recommender.artifact import Model
from recommender.baselines.neural.behaviour_lm import words_of
from recommender.baselines.neural.sequences import Sequences
from recommender.baselines.rivals import fit
from recommender.features.sequences import Histories

ITEMS = 8


@pytest.fixture(scope="module", params=["behaviour-gpt", "behaviour-bert"])
def model(request: pytest.FixtureRequest) -> Model:
    world = ring(items=ITEMS, length=6)
    config = config_of(epochs=40, learning_rate=5e-3, tokens_per_batch=64)
    return fit(request.param, world, world.folds[0], config)


def test_titles_are_words_and_a_mark() -> None:
    told = words_of(["Red hat", "red", "", "a b c d e f g h i j"])
    assert told.shape == (4, 8)
    assert (told[:, -1] == 1).all()
    assert told[0, 0] == told[1, 0] >= 2
    assert told[1, 1:-1].tolist() == [0] * 6
    assert told[2, :-1].tolist() == [0] * 7
    assert (told[3] > 0).all()


def test_it_learns_what_follows(model: Model) -> None:
    histories, following = asked_in_ring(ITEMS, 5)
    found = model.scorer.scores(histories).argmax(axis=1)
    assert (found == following).mean() > 0.8


def test_a_history_scores_the_same_in_any_company(model: Model) -> None:
    rows = [([1, 2], [LIKED] * 2, [HOUR, 2 * HOUR]), ([], [], [])]
    long = ([3, 4, 5, 6, 7], [LIKED] * 5, [HOUR * n for n in range(1, 6)])
    alone = model.scorer.scores(Histories.of(rows, [9 * HOUR] * 2))
    among = model.scorer.scores(Histories.of([*rows, long], [9 * HOUR] * 3))
    np.testing.assert_allclose(alone, among[:2], atol=1e-5)
    assert np.isfinite(alone).all()


def test_what_comes_after_a_moment_is_not_read(model: Model) -> None:
    rows = [([1, 2, *later], [LIKED] * 4, [HOUR] * 4) for later in ([3, 4], [7, 0])]
    both = Histories.of(rows, [9 * HOUR] * 2)
    sequences = Sequences.cut(both, both.offsets[:-1], both.lengths, ITEMS)
    with torch.inference_mode():
        first, second = model.scorer.module.read(sequences, torch.tensor([2, 2]))[:, 2]
    torch.testing.assert_close(first, second)


def test_it_is_stored_and_scores_the_same(model: Model, tmp_path: Path) -> None:
    torch.manual_seed(0)
    histories, _ = asked_in_ring(ITEMS, 5)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    np.testing.assert_allclose(again.scores(histories), model.scorer.scores(histories), atol=1e-6)
