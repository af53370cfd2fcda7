"""Systems compared on one frozen set: the same requests for all, and what each of them costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluation_world import Row, config_of, dataset_of

from recommender.baselines.rivals import fit
from recommender.config import parse
from recommender.errors import EvaluationError
from recommender.evaluation.assess import assess
from recommender.evaluation.contest import Contestant, hold
from recommender.split import Fold

ITEMS = [f"i{n:02d}" for n in range(12)]
FOLDS = (Fold(300, 400, 700), Fold(600, 700, 1001))
CONFIG = config_of(
    evaluation={
        "resamples": 200,
        "k": [5, 10],
        "requests_per_user": 4,
        "rivals": ["popularity"],
        "gate": {"must_beat": ["popularity"], "must_match": []},
    }
)


def rows_of() -> list[Row]:
    """Thirty users who walk through the catalogue in order."""
    random = np.random.default_rng(3)
    return [
        (f"u{user:02d}", ITEMS[(user + step) % 12], "buy", int(time))
        for user in range(30)
        for step, time in enumerate(np.sort(random.choice(1000, 12, replace=False)))
    ]


def rival(name: str) -> Contestant:
    return Contestant(name, lambda data, fold, config: fit(name, data, fold, config), CONFIG)


def test_the_figures_are_those_of_the_gate() -> None:
    dataset = dataset_of(rows_of(), CONFIG, FOLDS, ITEMS)
    knn = [fit("item-knn", dataset, fold, CONFIG) for fold in dataset.folds]
    judged = assess(dataset, knn, CONFIG).evidence
    panel = hold(dataset, [rival("item-knn"), rival("popularity")], CONFIG).panel
    ours = {system.name: system.metrics for system in panel.systems}
    assert ours["item-knn"] == judged.system("candidate").metrics
    assert ours["popularity"] == judged.system("popularity").metrics
    (duel,) = panel.comparisons
    assert duel.difference == judged.comparison("popularity").difference


def test_each_cut_is_fitted_on_its_own_past_alone() -> None:
    dataset = dataset_of(rows_of(), CONFIG, FOLDS, ITEMS)
    seen = []

    def watched(data, fold, config):
        seen.append(fold)
        return fit("popularity", data, fold, config)

    contest = hold(dataset, [Contestant("watched", watched, CONFIG)], CONFIG)
    assert seen == list(FOLDS)
    assert len(contest.folds) == 2
    assert all(users > 0 for users in contest.folds)


def test_costs_tell_the_size_and_the_time_of_an_answer() -> None:
    dataset = dataset_of(rows_of(), CONFIG, FOLDS, ITEMS)
    cost = hold(dataset, [rival("popularity")], CONFIG).costs["popularity"]
    assert (cost.kind, cost.numbers) == ("popularity", len(ITEMS))
    assert cost.answer_ms > 0
    assert cost.cpu_s >= 0


def test_frozen_text_vectors_are_not_counted_as_learned() -> None:
    made = dataset_of(rows_of(), CONFIG, FOLDS, ITEMS)
    dataset = replace(made, text=np.eye(len(ITEMS), 32, dtype=np.float32))
    small = parse(
        {
            **CONFIG.model_dump(mode="json"),
            "evaluation": {
                **CONFIG.evaluation.model_dump(mode="json"),
                "neural": {"width": 4, "epochs": 1, "heads": 2},
            },
        },
        "test",
    )
    taking_part = [
        Contestant(name, rival(name).fit, small)
        for name in ("history-text", "frozen-text-factorisation")
    ]
    contest = hold(dataset, taking_part, small)
    # A count per item; a map of 32 columns to 4, 30 people's vectors of 4 and a bias per item.
    assert contest.costs["history-text"].numbers == len(ITEMS)
    assert contest.costs["frozen-text-factorisation"].numbers == 32 * 4 + 30 * 4 + len(ITEMS)
    held = contest.models["history-text"].scorer.weights()["vectors"]
    assert held.size > len(ITEMS)


@pytest.mark.parametrize("names", [(), ("popularity", "popularity")])
def test_a_contest_needs_systems_that_can_be_told_apart(names) -> None:
    dataset = dataset_of(rows_of(), CONFIG, FOLDS, ITEMS)
    with pytest.raises(EvaluationError, match="different names"):
        hold(dataset, [rival(name) for name in names], CONFIG)
