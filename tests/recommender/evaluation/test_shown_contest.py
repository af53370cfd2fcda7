"""Rankers of shown items side by side: the same cases for all, differences within people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_world import config_of, dataset_of

from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.heads import judge_heads
from recommender.evaluation.shown_contest import ITEM_ALONE, judge_shown
from recommender.features.dataset import Dataset
from recommender.split import Fold

HOUR = 3_600_000
FOLD = Fold(900 * HOUR, 1000 * HOUR, 2000 * HOUR)
CONFIG = config_of(evaluation={"resamples": 200})


def world() -> Dataset:
    """Odd users buy "a" and view "b"; even ones click "a" and view "b"; "c" is only viewed."""
    rows = []
    for user in range(40):
        for item, event, hour in (
            ("a", "buy" if user % 2 else "click", 500),
            ("c", "view", 700),
            ("a", "buy" if user % 2 else "click", 1100),
            ("b", "view", 1200),
            ("c", "view", 1300),
        ):
            rows.append((f"u{user:02d}", item, event, (hour + user) * HOUR))
    return dataset_of(rows, CONFIG, [FOLD])


class Guess:
    """Finds each event type so likely for an item, whoever is asked."""

    kind = "guess"

    def __init__(self, dataset: Dataset, clicked: dict[str, float]) -> None:
        self.catalogue = dataset.catalogue
        self.chance_I = np.array([clicked.get(item, 0.0) for item in dataset.catalogue.ids])

    def action_probabilities(self, histories: Any, items: Any) -> Any:
        chance = self.chance_I[items][..., None]
        return np.concatenate([1 - chance, chance, 0 * chance], axis=-1).astype(np.float32)


def model_of(dataset: Dataset, clicked: dict[str, float], config: Config = CONFIG) -> Model:
    guess: Any = Guess(dataset, clicked)
    return Model(guess, dataset.titles, config.actions, 10)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], Any]:
    dataset = world()
    models = {
        "right": model_of(dataset, {"a": 0.9, "b": 0.1, "c": 0.1}),
        "wrong": model_of(dataset, {"a": 0.1, "b": 0.2, "c": 0.3}),
    }
    return {(row.system, row.event): row for row in judge_shown(models, dataset, CONFIG)}


def test_every_model_is_judged_on_the_same_cases_of_the_last_window(rows) -> None:
    assert {event for _, event in rows} == {"click", "buy"}
    clicks = [rows[name, "click"] for name in ("right", "wrong", ITEM_ALONE)]
    assert {(row.cases, row.positives, row.users) for row in clicks} == {(120, 40, 40)}


def test_who_is_right_within_people_is_told_from_who_is_wrong(rows) -> None:
    right, wrong = rows["right", "click"], rows["wrong", "click"]
    assert (right.user_auc, right.auc) == (1.0, 1.0)
    assert wrong.user_auc == 0.0
    assert right.log_loss < wrong.log_loss
    assert right.gap is None
    assert (wrong.gap.estimate, wrong.gap.low, wrong.gap.high) == (1.0, 1.0, 1.0)


def test_people_who_went_equally_far_with_everything_tell_nothing_within_people(rows) -> None:
    # Only the twenty who bought have cases of both kinds.
    assert rows["right", "buy"].users == 20


def test_the_figures_are_those_of_the_gates_evidence(rows) -> None:
    dataset = world()
    scorer: Any = model_of(dataset, {"a": 0.9, "b": 0.1, "c": 0.1}).scorer
    heads = judge_heads(
        scorer, dataset, FOLD, CONFIG.actions, history_limit=10, most=50_000, seed=CONFIG.seed
    )
    for head in heads:
        row, alone = rows["right", head.event], rows[ITEM_ALONE, head.event]
        assert (row.user_auc, row.auc, row.log_loss) == (head.user_auc, head.auc, head.log_loss)
        assert (alone.user_auc, alone.auc) == (head.item_user_auc, head.item_auc)


def test_an_interval_holds_the_difference_of_people_who_differ() -> None:
    dataset = world()
    some = model_of(dataset, {"a": 0.5, "b": 0.1, "c": 0.6})
    found = judge_shown({"one": model_of(dataset, {"a": 1.0}), "two": some}, dataset, CONFIG)
    gap = next(row.gap for row in found if (row.system, row.event) == ("two", "click"))
    # "a" lies above "b" and below "c" for everybody: half is told, of each person alike.
    assert gap.estimate == pytest.approx(0.5)
    assert gap.low <= gap.estimate <= gap.high


def test_what_says_nothing_of_actions_is_refused_by_name() -> None:
    dataset = world()
    counts = fit("popularity", dataset, FOLD, CONFIG)
    with pytest.raises(EvaluationError, match="popularity"):
        judge_shown({"popularity": counts}, dataset, CONFIG)
