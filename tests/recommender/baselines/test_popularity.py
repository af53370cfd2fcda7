"""Popularity: hand-counted, blind to the future, the same after a round trip to disk."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recommender.artifact import Model
from recommender.baselines.popularity import DAY_MS, Popularity, RecentPopularity, fit_popularity
from recommender.config import Config, parse
from recommender.config.actions import ActionsConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.scoring import top_k
from recommender.split import Fold
from recommender.tables import EVENTS, ITEMS

ACTIONS = ActionsConfig(types=("view", "click", "buy"), history=("click", "buy"), success=("buy",))
CATALOGUE = Catalogue(("a", "b", "c", "d"))
NOBODY = Histories.of([([], [], []), ([1], [2], [5])], now=[10, 10])


def log_of(*rows: tuple[str, str, str, int]) -> EventLog:
    """Build a log of (user, item, event, time) rows."""
    columns = {
        "event_id": [f"{n:04d}" for n in range(len(rows))],
        "user_id": [row[0] for row in rows],
        "item_id": [row[1] for row in rows],
        "event": [row[2] for row in rows],
        "time": [row[3] for row in rows],
        "value": [None for _ in rows],
        "surface": [None for _ in rows],
        "position": [None for _ in rows],
        "propensity": [None for _ in rows],
    }
    return EventLog.build(pa.table(columns, EVENTS), CATALOGUE, ACTIONS)


def config_of() -> Config:
    return parse(
        {"name": "tiny", "source": {"kind": "synthetic"}, "actions": ACTIONS.model_dump()}, "test"
    )


def test_only_successes_strictly_before_the_cut_are_counted() -> None:
    log = log_of(
        ("u", "a", "buy", 1),
        ("u", "a", "buy", 2),
        ("v", "b", "buy", 3),
        ("v", "c", "click", 3),
        ("w", "d", "view", 4),
        ("w", "d", "buy", 10),
        ("w", "d", "buy", 11),
    )
    scores = Popularity.fit(log, CATALOGUE, ACTIONS, cut=10).scores(NOBODY)
    np.testing.assert_array_equal(scores, [[2, 1, 0, 0], [2, 1, 0, 0]])


def test_ties_go_to_the_item_that_comes_first_in_the_catalogue() -> None:
    log = log_of(("u", "c", "buy", 1), ("v", "b", "buy", 2))
    items, _ = top_k(Popularity.fit(log, CATALOGUE, ACTIONS, cut=10).scores(NOBODY), 4)
    assert items.tolist() == [[1, 2, 0, 3], [1, 2, 0, 3]]


@pytest.mark.parametrize("kind", [Popularity, RecentPopularity])
def test_events_at_or_after_the_cut_change_nothing(kind: type[Popularity]) -> None:
    past = [("u", "a", "buy", 1), ("v", "b", "buy", 3), ("v", "b", "buy", 4)]
    future = [("u", "d", "buy", 10), ("x", "d", "buy", 11), ("v", "c", "buy", 12)]
    alone = kind.fit(log_of(*past), CATALOGUE, ACTIONS, cut=10).weights()
    with_future = kind.fit(log_of(*past, *future), CATALOGUE, ACTIONS, cut=10).weights()
    np.testing.assert_array_equal(alone["counts"], with_future["counts"])


def test_recent_popularity_reads_the_window_and_breaks_ties_by_the_past() -> None:
    cut = 100 * DAY_MS
    log = log_of(
        *[("u", "a", "buy", 1 + n) for n in range(5)],  # long ago
        ("v", "b", "buy", cut - 8 * DAY_MS),  # a day too old
        ("v", "c", "buy", cut - 7 * DAY_MS),  # the first moment of the window
        ("w", "a", "buy", cut - 1),
    )
    scorer = RecentPopularity.fit(log, CATALOGUE, ACTIONS, cut, days=7, least=1)
    items, _ = top_k(scorer.scores(NOBODY), 4)
    assert items[0].tolist() == [0, 2, 1, 3]  # a and c once each, a more often ever
    np.testing.assert_array_equal(np.floor(scorer.weights()["counts"]), [1, 0, 1, 0])


def test_the_recent_window_grows_until_it_holds_enough_events() -> None:
    cut = 100 * DAY_MS
    log = log_of(
        *[("u", "d", "buy", n) for n in range(3)],
        ("v", "b", "buy", 50 * DAY_MS),
        ("v", "c", "buy", cut - 1),
    )
    counts = RecentPopularity.fit(log, CATALOGUE, ACTIONS, cut, days=7, least=2).weights()["counts"]
    np.testing.assert_array_equal(np.floor(counts), [0, 1, 1, 0])


@pytest.mark.parametrize("kind", [Popularity, RecentPopularity])
def test_without_any_success_before_the_cut_all_items_score_zero(kind: type[Popularity]) -> None:
    scorer = kind.fit(log_of(("u", "a", "buy", 50)), CATALOGUE, ACTIONS, cut=10)
    np.testing.assert_array_equal(scorer.scores(NOBODY), np.zeros((2, 4)))


def test_the_served_model_survives_a_round_trip_and_has_words_for_every_item(tmp_path) -> None:
    log = log_of(("u", "a", "buy", 1), ("v", "b", "buy", 3), ("v", "b", "buy", 4))
    rows = {
        "item_id": list(CATALOGUE.ids),
        "title": ["Apple", None, "Cherry", "Date"],
        **{name: [None] * 4 for name in ("text", "categories", "brand", "price", "created")},
    }
    fold = Fold(validation_start=3, test_start=4, test_end=9)
    dataset = Dataset(log, pa.table(rows, ITEMS), np.zeros((4, 2), np.float32), (fold,), "v", "e")
    model = fit_popularity(dataset, fold, config_of())
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.titles == ("Apple", "b", "Cherry", "Date")
    assert isinstance(again.scorer, Popularity)
    np.testing.assert_array_equal(again.scorer.scores(NOBODY), [[1, 1, 0, 0], [1, 1, 0, 0]])
