"""New items at the end of a trained catalogue, and few items out of it."""

from __future__ import annotations

import numpy as np
import pytest
from tables_by_hand import configuration
from taste_shop import DAY, ITEMS, NOW, WIDTH, scorer, vectors

from recommender.features.sequences import Histories
from recommender.model.extended import extended, part_of, whitening_of
from recommender.model.whitening_found import OtherTextError

HISTORIES = Histories.of(
    [([1, 6, 2], [2, 3, 2], [NOW - 3 * DAY, NOW - DAY, NOW - 5]), ([], [], [])], [NOW, NOW]
)


@pytest.fixture
def trained(tmp_path):
    return scorer(configuration(tmp_path))


def test_new_items_change_no_score_of_the_others(trained):
    grown = extended(trained, ["new", "mute"], np.vstack([np.ones(4), np.zeros(4)]))
    assert grown.catalogue.ids == (*ITEMS, "new", "mute")
    np.testing.assert_allclose(
        grown.scores(HISTORIES)[:, : len(ITEMS)], trained.scores(HISTORIES), atol=1e-5
    )
    assert np.isfinite(grown.scores(HISTORIES)).all()


def test_a_new_item_is_scored_as_one_of_the_same_text_that_training_never_saw(tmp_path):
    # The whitening of both is found on the same items: all but the last.
    known = [True] * (len(ITEMS) - 1) + [False]
    whole = scorer(configuration(tmp_path), known=known)
    text = whole.weights()["tower.text_IV"][-1:]
    grown = extended(whole, ["twin"], text)
    scores = grown.scores(HISTORIES)
    popularity = whole.weights()["popularity.popularity_IF"][-1]
    weight = whole.weights()["popularity.weight_F"]
    lift = (popularity - np.log(0.5)) @ weight
    np.testing.assert_allclose(scores[:, -1] + lift, scores[:, -2], atol=1e-4)
    # As a past event, too.
    read = Histories.of([([len(ITEMS) - 1], [2], [NOW - 9])], [NOW])
    as_twin = Histories.of([([len(ITEMS)], [2], [NOW - 9])], [NOW])
    others = slice(0, len(ITEMS) - 1)
    np.testing.assert_allclose(
        grown.scores(read)[:, others], grown.scores(as_twin)[:, others], atol=1e-5
    )


def test_the_whitening_is_found_again_from_what_the_store_holds(trained):
    text = vectors(len(ITEMS))
    found = whitening_of(trained, np.arange(len(ITEMS)), text)
    white = trained.weights()["tower.text_IV"]
    np.testing.assert_allclose(found(text), white, atol=1e-3)
    # It is affine, also between and beyond the known ones.
    mixed = 0.5 * text[:1] + 0.7 * text[1:2] - 0.2 * text[2:3]
    expected = 0.5 * white[:1] + 0.7 * white[1:2] - 0.2 * white[2:3]
    np.testing.assert_allclose(found(mixed), expected, atol=1e-3)
    assert not found(np.zeros((1, WIDTH), np.float32)).any()


def test_text_of_another_encoder_is_refused(trained):
    rows = np.arange(len(ITEMS))
    with pytest.raises(OtherTextError, match="not those that the model was trained on"):
        whitening_of(trained, rows, vectors(len(ITEMS), seed=6))
    with pytest.raises(OtherTextError, match="none of the items has a text vector"):
        whitening_of(trained, rows, np.zeros((len(ITEMS), WIDTH), np.float32))


def test_few_items_have_the_scores_that_they_have_among_all(trained):
    rows = np.array([1, 2, 6, 9])
    small = part_of(trained, rows)
    read = Histories.of([([0, 2, 1], [2, 3, 2], HISTORIES.times[:3]), ([], [], [])], [NOW, NOW])
    np.testing.assert_allclose(small.scores(read), trained.scores(HISTORIES)[:, rows], atol=1e-5)
