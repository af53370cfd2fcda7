"""Ranking by text alone: near in words is high in the list, and nothing after the cut is read."""

from __future__ import annotations

import numpy as np
import pytest
from tables_by_hand import configuration, tables

from recommender.artifact import Model
from recommender.baselines.content import BehaviourText, HistoryText
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.config.text import TextConfig
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.features.text import encode_items
from recommender.privacy import Pseudonyms

DAY = 86_400_000
ITEMS = [
    {"item_id": "a", "title": "A dog plays in the garden"},
    {"item_id": "b", "title": "The puppy runs through the yard"},
    {"item_id": "c", "title": "Quarterly tax return for companies"},
    {"item_id": "d", "title": "Annual report of a bank"},
    {"item_id": "e"},
]
EVENTS = [(f"u{n % 4}", "abcd"[n % 4], "purchase", n * DAY) for n in range(40)]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    rivals = ["popularity", "recent-popularity", "item-knn", "history-text", "behaviour-text"]
    return configuration(tmp_path_factory.mktemp("content"), evaluation={"rivals": rivals})


@pytest.fixture(scope="module")
def dataset(config) -> Dataset:
    made = tables(EVENTS, ITEMS)
    text = encode_items(catalogue_order(made.items), config.features.text, config.paths.cache)
    return build_dataset(made, config, text, Pseudonyms(b"sixteen bytes ok"), "v")


def one(model: Model, *rows) -> np.ndarray:
    histories = [(list(row), [3] * len(row), [99 * DAY] * len(row)) for row in rows]
    return model.scorer.scores(Histories.of(histories, [100 * DAY] * len(rows)))


@pytest.mark.parametrize("rival", ["history-text", "behaviour-text"])
def test_what_is_near_in_words_is_high_in_the_list(dataset, config, rival):
    model = fit(rival, dataset, dataset.folds[-1], config)
    dogs, money, nothing = one(model, [0], [2], [])
    assert dogs[1] > max(dogs[2], dogs[3])
    assert money[3] > max(money[0], money[1])
    for row in (dogs, money, nothing):
        assert np.isfinite(row).all()
        assert row.argmin() == 4  # without text: last
    # Without a history only the trace of popularity is left.
    assert np.abs(nothing[:4]).max() <= 1e-4


@pytest.mark.parametrize("rival", ["history-text", "behaviour-text"])
def test_it_comes_back_from_its_folder(dataset, config, rival, tmp_path):
    model = fit(rival, dataset, dataset.folds[-1], config)
    model.save(tmp_path / "model")
    back = Model.load(tmp_path / "model")
    np.testing.assert_allclose(one(back, [0, 1], [], [2]), one(model, [0, 1], [], [2]), atol=1e-5)


@pytest.mark.parametrize("rival", ["history-text", "behaviour-text"])
def test_nothing_after_the_cut_is_read(dataset, config, rival):
    fold = dataset.folds[-1]
    past = [event for event in EVENTS if event[3] < fold.test_start]
    later = [("u0", "c", "purchase", fold.test_start + n) for n in range(50)]
    rows = []
    for events in (past, past + later):
        made = tables(events, ITEMS)
        text = encode_items(catalogue_order(made.items), config.features.text, config.paths.cache)
        known = build_dataset(made, config, text, Pseudonyms(b"sixteen bytes ok"), "v")
        rows.append(one(fit(rival, known, fold, config), [0], []))
    assert rows[0].tobytes() == rows[1].tobytes()


def test_the_mean_is_of_the_most_recent_events():
    vectors = np.eye(4, dtype=np.float32)
    scorer = HistoryText(Catalogue(tuple("abcd")), vectors, np.zeros(4, np.float32), 2)
    rows = [([0, 1, 2], [1] * 3, [1, 2, 3]), ([3], [1], [1]), ([], [], [])]
    half = 0.5**0.5
    np.testing.assert_allclose(
        scorer.scores(Histories.of(rows, [9] * 3)),
        [[0, half, half, 0], [0, 0, 0, 1], [0, 0, 0, 0]],
        atol=1e-6,
    )


def test_vectors_of_another_catalogue_are_refused():
    with pytest.raises(ValueError, match="1 vectors for 2 items"):
        HistoryText(Catalogue(("a", "b")), np.ones((1, 2), np.float32), np.ones(2, np.float32), 1)


def test_a_ranking_by_sentences_grows_by_items_that_it_can_name():
    def encode(told):
        return np.array([[1.0, 0.0] if "the third" in said else [0.0, 1.0] for said in told], "f4")

    first = BehaviourText(
        Catalogue(("a", "b")),
        np.array([[1, 0], [0, 1]], np.float32),
        np.zeros(2, np.float32),
        ["the first", "the second"],
        ["click"],
        TextConfig(),
        encode,
    )
    grown = first.with_items(["c"], ["the third"], np.array([[1, 0]], np.float32))
    assert grown.catalogue.ids == ("a", "b", "c")
    of_third = grown.scores(Histories.of([([2], [1], [1])], [5]))[0]
    assert of_third.tolist() == pytest.approx([1, 0, 1])
    known = Histories.of([([1], [1], [1])], [5])
    np.testing.assert_array_equal(grown.scores(known)[:, :2], first.scores(known))
    # It is stored like any other.
    assert grown.settings()["names"] == ["the first", "the second", "the third"]
    assert grown.weights()["vectors"].shape == (3, 2)
