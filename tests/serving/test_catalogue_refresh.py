"""New items and categories from the store: taken in rounds, and never at the price of the old."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shop import model as popularity
from taste_shop import (
    ITEMS,
    PROJECT,
    TasteShop,
    add_items,
    model,
    open_taste_shop,
    store_of,
    vectors,
)

from recommender.artifact import Model
from recommender.baselines.content import HistoryText
from recommender.baselines.popularity import Popularity
from recommender.ensemble import Ensemble, Member, places
from recommender.errors import FeatureError
from recommender.features.sequences import Catalogue, Histories
from recommender.model.whitening_found import OtherTextError
from serving.items import StoreItems
from serving.refresh import Refresher
from serving.shelf import Shelf


@pytest.fixture
def taste(tmp_path: Path) -> TasteShop:
    return open_taste_shop(tmp_path)


class Taken(list[tuple[Model, Shelf]]):
    def __call__(self, model: Model, shelf: Shelf) -> None:
        self.append((model, shelf))


def refresher(taste: TasteShop, taken: Taken, of: Model | None = None, every_s: float = 9.0):
    items = StoreItems(taste.config.paths, PROJECT)
    return Refresher(of or model(taste.config), items, every_s, taken)


def test_only_what_has_changed_is_taken(taste: TasteShop) -> None:
    taken = Taken()
    rounds = refresher(taste, taken)
    assert rounds.once()
    assert not rounds.once()
    ((first, shelf),) = taken
    assert first.scorer.catalogue.ids == ITEMS
    assert [ITEMS[row] for row in shelf.among(["tea"])] == list(ITEMS[:5])
    add_items(
        store_of(taste.config),
        ["new", "mute"],
        np.vstack([vectors(1, 9), 0 * vectors(1)]),
        [("tea",), ()],
    )
    assert rounds.once()
    grown, shelf = taken[-1]
    assert grown.scorer.catalogue.ids == (*ITEMS, "mute", "new")
    assert grown.titles[-2:] == ("Thing mute", "Thing new")
    assert shelf.among(["tea"]).tolist() == [0, 1, 2, 3, 4, 13]
    assert grown.cold is not None
    assert grown.cold.scores([None]).shape == (1, 14)
    # It starts from the signed model, so that nothing adds up from round to round.
    store_of(taste.config).remove("item_text", "item_id", ["mute"])
    assert rounds.once()
    assert taken[-1][0].scorer.catalogue.ids == (*ITEMS, "new")
    store_of(taste.config).remove("item_text", "item_id", ["new"])
    assert rounds.once()
    assert taken[-1][0].scorer.catalogue.ids == ITEMS


def test_a_model_that_reads_no_text_gets_categories_only(taste: TasteShop) -> None:
    taken = Taken()
    rounds = refresher(taste, taken, popularity(taste.config))
    assert rounds.once()
    ((same, shelf),) = taken
    assert len(same.scorer.catalogue) == 7
    assert shelf.read


def by_text(taste: TasteShop, text: np.ndarray) -> Model:
    """Return the ranking by the mean text of a history."""
    scorer = HistoryText(Catalogue(ITEMS), text, np.linspace(1, 0, len(ITEMS), dtype="f4"), 5)
    titles = tuple(f"Thing {item}" for item in ITEMS)
    return Model(scorer, titles, taste.config.actions, 5)


def test_a_ranking_by_text_takes_new_items_in_as_the_encoder_made_them(taste: TasteShop) -> None:
    taken, before = Taken(), by_text(taste, vectors(len(ITEMS)))
    rounds = refresher(taste, taken, before)
    assert rounds.once()
    # What is said of the new item is what is said of i02: who took that is shown this.
    add_items(store_of(taste.config), ["new"], vectors(len(ITEMS))[2:3], [("tea",)])
    assert rounds.once()
    grown, shelf = taken[-1]
    assert grown.scorer.catalogue.ids == (*ITEMS, "new")
    assert grown.titles[-1] == "Thing new"
    assert 12 in shelf.among(["tea"])
    history = Histories.of([([2], [2], [1])], [9])
    scores = grown.scorer.scores(history)[0]
    assert np.argsort(-scores)[:2].tolist() == [2, 12]
    np.testing.assert_array_equal(scores[:12], before.scorer.scores(history)[0])
    # An event with it is read, too.
    of_new = grown.scorer.scores(Histories.of([([12], [2], [1])], [9]))[0]
    np.testing.assert_allclose(of_new, scores, atol=1e-6)


def test_an_ensemble_takes_new_items_in_by_its_unified_model(taste: TasteShop) -> None:
    alone = model(taste.config)
    counted = Popularity(alone.scorer.catalogue, np.arange(len(ITEMS), dtype="f4"))
    members = [Member("unified", alone.scorer, 1.0, 5), Member("popularity", counted, 0.5, 5)]
    together = replace(alone, scorer=Ensemble(members, 60, False))
    taken = Taken()
    rounds = refresher(taste, taken, together)
    add_items(store_of(taste.config), ["new"], vectors(len(ITEMS))[2:3], [("tea",)])
    assert rounds.once()
    grown = taken[-1][0].scorer
    assert grown.catalogue.ids == (*ITEMS, "new")
    asked = Histories.of([([2, 12], [2, 2], [1, 2])], [9])
    assert isinstance(grown, Ensemble)
    own, other = grown.members
    assert own.scorer.catalogue.ids == grown.catalogue.ids
    # Popularity knows nothing of it: last in its list, wherever the unified model puts it.
    assert other.scorer.scores(asked)[0].argmin() == 12
    fused = 1 / (60 + places(own.scorer.scores(asked)[0]))
    fused += 0.5 / (60 + places(other.scorer.scores(asked)[0]))
    np.testing.assert_allclose(grown.scores(asked)[0], fused, rtol=1e-5)


def test_a_ranking_by_other_text_is_left_as_it_is_and_that_is_said(taste: TasteShop) -> None:
    taken = Taken()
    rounds = refresher(taste, taken, by_text(taste, vectors(len(ITEMS), seed=1)))
    add_items(store_of(taste.config), ["new"], vectors(1), [()])
    with pytest.raises(OtherTextError, match="not those that the model was trained on"):
        rounds.once()
    assert not taken


def test_text_of_another_encoder_changes_nothing_and_is_said(taste: TasteShop) -> None:
    store = store_of(taste.config)
    add_items(store, [*ITEMS, "new"], vectors(13, seed=1), [()] * 13)
    taken = Taken()
    rounds = refresher(taste, taken)
    with pytest.raises(OtherTextError, match="not those that the model was trained on"):
        rounds.once()
    assert not taken


def test_a_round_that_fails_is_counted_and_the_next_one_is_tried(taste: TasteShop) -> None:
    store_of(taste.config).drop("item_attributes")
    taken = Taken()
    rounds = refresher(taste, taken, every_s=0.05)
    with pytest.raises(FeatureError):
        rounds.once()
    rounds.start()
    try:
        assert rounds.failures >= 1
        assert rounds.failure
        assert not taken
        add_items(store_of(taste.config), ITEMS, vectors(len(ITEMS)), [("tea",)] * len(ITEMS))
        for _ in range(200):
            if taken:
                break
            rounds._ended.wait(0.02)
        ((_, shelf),) = taken
        assert len(shelf.among(["tea"])) == len(ITEMS)
    finally:
        rounds.stop()
