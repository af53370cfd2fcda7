"""Whether words help where ids can't: items unseen in training, and what words cost elsewhere.

    make bench PYTEST_ARGS="-k cold_items"

Rolling cuts of the global time split. At each cut the items that no earlier event names are ranked
by themselves, for the people who later took one; then the whole catalogue as usual, with and
without words. `OSTINATO_WORLDS="online-retail"` picks data sets, `OSTINATO_SET` settings.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from benchmark_settings import given_settings
from cold_items import Among, about_cold_items, by_category, chance, cold
from rich.console import Console
from worlds import without_words, world

from pipelines.bench import fit_unified, show
from recommender.artifact import Model
from recommender.evaluation.contest import Contestant, hold
from recommender.evaluation.freeze import freeze

WORLDS = os.environ.get("OSTINATO_WORLDS", "movielens-small online-retail").split()


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORLDS)
def test_cold_items(name: str, shared_data: Path, tmp_path_factory) -> None:
    given = {"split.folds": 5, **given_settings()}
    config, dataset = world(name, shared_data, tmp_path_factory.getbasetemp() / "cold", given)

    @cache
    def trained(fold: int, words: bool) -> Model:
        data = dataset if words else without_words(dataset)
        return fit_unified(data, dataset.folds[fold], config)

    def place(fold) -> int:
        return dataset.folds.index(fold)

    def among(fit):
        """Ask a system about cold items only."""

        def asked(data, fold, tree):
            model = fit(data, fold, tree)
            return replace(model, scorer=Among(model.scorer, cold(data, fold)), cold=None)

        return asked

    def with_words(data, fold, tree):
        return trained(place(fold), True)

    def ids_alone(data, fold, tree):
        return trained(place(fold), False)

    requests = freeze(
        dataset,
        config.actions,
        config.features.history_limit,
        config.evaluation.requests_per_user,
    )
    asked = about_cold_items(requests, dataset)
    counts = [int(cold(dataset, fold).sum()) for fold in dataset.folds]
    print(f"\n\n{name}: items unseen at each cut {counts}; only those are ranked")
    fits = {
        "unified": with_words,
        "ids alone": ids_alone,
        "categories, of everybody": lambda d, f, c: by_category(d, f, c, personal=False),
        "categories, of the history": lambda d, f, c: by_category(d, f, c, personal=True),
        "chance": lambda d, f, c: chance(d, c, config.seed),
    }
    entrants = [Contestant(each, among(fit), config) for each, fit in fits.items()]
    contest = hold(dataset, entrants, config, asked)
    show(contest, Console(width=120))
    assert len(contest.panel.users) > 0
    print(f"\n{name}: the whole catalogue")
    everything = [
        Contestant("unified", with_words, config),
        Contestant("ids alone", ids_alone, config),
    ]
    show(hold(dataset, everything, config, requests), Console(width=120))
