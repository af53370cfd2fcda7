"""Items as a linear map of their texts' frozen vectors: what shares a text shares its taste."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rival_worlds import LIKED, config_of, groups

from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.features.dataset import Dataset
from recommender.features.sequences import Histories

KINDS, OF_KIND = 4, 6
UNSEEN = np.arange(KINDS) * OF_KIND + OF_KIND - 1


@pytest.fixture(scope="module")
def world() -> Dataset:
    """Nobody has ever taken the last item of a kind."""
    whole = groups(kinds=KINDS, of_kind=OF_KIND)
    return replace(whole, log=whole.log.where(~np.isin(whole.log.items, UNSEEN)))


@pytest.fixture(scope="module")
def model(world: Dataset) -> Model:
    return fit("frozen-text-factorisation", world, world.folds[0], config_of(epochs=40))


def histories() -> Histories:
    rows = [([kind * OF_KIND, kind * OF_KIND + 1], [LIKED] * 2, [1, 2]) for kind in range(KINDS)]
    return Histories.of(rows, [9] * KINDS)


def test_an_item_that_nobody_took_is_known_by_its_text(model: Model) -> None:
    # Of the four items that nobody took, everybody's first is that of their own kind.
    scores = model.scorer.scores(histories())[:, UNSEEN]
    assert np.argmax(scores, axis=1).tolist() == list(range(KINDS))


def test_item_vectors_are_a_linear_map_of_the_text_and_nothing_else(
    model: Model, world: Dataset
) -> None:
    items = model.scorer.weights()["items"]
    mapped, *_ = np.linalg.lstsq(world.text, items, rcond=None)
    np.testing.assert_allclose(world.text @ mapped, items, atol=1e-4)


def test_it_is_stored_and_scores_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    np.testing.assert_array_equal(again.scores(histories()), model.scorer.scores(histories()))
