"""New items where the store knows few of the model's: read as the model does, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from taste_shop import (
    ENCODER,
    ITEMS,
    PROJECT,
    WIDTH,
    TasteShop,
    add_items,
    model,
    open_taste_shop,
    scorer,
    store_of,
    vectors,
)

from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue
from recommender.model.extended import whitening_of
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.whitening import whiten
from recommender.model.whitening_found import OtherTextError
from serving.items import StoreItems
from serving.refresh import Refresher

FEW = WIDTH + 1
"""Through so few points an affine map leads anywhere."""


@pytest.fixture
def taste(tmp_path: Path) -> TasteShop:
    return open_taste_shop(tmp_path)


def small() -> TransformerScorer:
    """Return a model of a catalogue that is as small."""
    shape = ModelConfig(width=16, layers=1, heads=2, history=8, text_width=4)
    known = torch.ones(FEW, dtype=torch.bool)
    white = torch.from_numpy(whiten(vectors(FEW), known.numpy(), 4))
    module = UnifiedTransformer(shape, 2, white, known, torch.zeros(FEW, 1), repeats=False)
    return TransformerScorer(module, Catalogue(ITEMS[:FEW]))


def test_so_few_vectors_of_another_encoder_would_fit(taste: TasteShop) -> None:
    rows, other = np.arange(FEW), vectors(FEW, seed=8)
    for same in (False, True):
        with pytest.raises(OtherTextError, match=r"7 of the model's items|lacks the text vectors"):
            whitening_of(scorer(taste.config), rows, other, same_encoder=same)
    with pytest.raises(OtherTextError, match="8 different ones are needed"):
        whitening_of(small(), rows, other)


def test_one_vector_told_twice_is_no_evidence() -> None:
    text = np.vstack([vectors(FEW), vectors(1)])
    with pytest.raises(OtherTextError, match="7 of the model's items"):
        whitening_of(small(), np.r_[:FEW, 0], text)


def test_vectors_of_fewer_dimensions_need_fewer_items() -> None:
    # All of them lie in a plane of the encoder's space: six tell the map in it, and prove it.
    random = np.random.default_rng(3)
    text = (random.normal(size=(6, 2)) @ random.normal(size=(2, WIDTH))).astype(np.float32)
    shape = ModelConfig(width=16, layers=1, heads=2, history=8, text_width=2)
    known = torch.ones(6, dtype=torch.bool)
    white = torch.from_numpy(whiten(text, known.numpy(), 2))
    module = UnifiedTransformer(shape, 2, white, known, torch.zeros(6, 1), repeats=False)
    trained = TransformerScorer(module, Catalogue(ITEMS[:6]))
    found = whitening_of(trained, np.arange(6), text)
    np.testing.assert_allclose(found(text), white, atol=1e-3)
    with pytest.raises(OtherTextError, match="not those that the model was trained on"):
        whitening_of(
            trained, np.arange(6), vectors(6, seed=8)[:, ::-1] @ np.diag([1, 1, 0, 0, 0, 0])
        )


def test_all_items_of_a_small_catalogue_are_enough_where_the_encoder_is_the_models() -> None:
    trained, text = small(), vectors(FEW)
    found = whitening_of(trained, np.arange(FEW), text, same_encoder=True)
    np.testing.assert_allclose(found(text), trained.weights()["tower.text_IV"], atol=1e-3)


def grown(taste: TasteShop, encoder: str = ENCODER) -> list[TransformerScorer]:
    """Let a server of the shop take in a new item."""
    add_items(store_of(taste.config), ["new"], vectors(13)[12:], [("tea",)])
    taken: list[TransformerScorer] = []
    items = StoreItems(taste.config.paths, PROJECT)
    Refresher(
        model(taste.config), items, 9.0, lambda made, _: taken.append(made.scorer), encoder
    ).once()
    return taken


def test_a_store_that_lacks_most_items_adds_none_that_would_be_misread(taste: TasteShop) -> None:
    store_of(taste.config).remove("item_text", "item_id", ITEMS[FEW:])
    with pytest.raises(OtherTextError, match="lacks the text vectors of 5 of 12 items"):
        grown(taste)
    with pytest.raises(OtherTextError, match="8 different ones are needed"):
        grown(taste, encoder="")


def test_items_behind_those_that_the_store_lacks_are_found(
    taste: TasteShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving import growing

    # The first look falls on six items, two of which are gone.
    monkeypatch.setattr(growing, "_PAIRS", 1)
    store_of(taste.config).remove("item_text", "item_id", [ITEMS[0], ITEMS[11]])
    (made,) = grown(taste, encoder="")
    whole = scorer(taste.config)
    expected = whitening_of(whole, np.arange(len(ITEMS)), vectors(len(ITEMS)))(vectors(13)[12:])
    np.testing.assert_allclose(made.weights()["tower.text_IV"][-1:], expected, atol=1e-3)
