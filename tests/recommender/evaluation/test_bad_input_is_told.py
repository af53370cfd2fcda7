"""Bad input of every kind: named and counted on the page, or refused by name."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluation_world import config_of, dataset_of, popularity_model

from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.assess import Champion, assess
from recommender.evaluation.freeze import freeze
from recommender.evaluation.report import render
from recommender.evaluation.score import score
from recommender.features.dataset import Dataset
from recommender.features.sequences import Exposures
from recommender.split import Fold

HOUR = 3_600_000
FOLD = Fold(900 * HOUR, 1000 * HOUR, 2000 * HOUR)
ITEMS = "abcdef"


def shop() -> tuple[Config, Dataset]:
    config = config_of(
        evaluation={
            "rivals": ["popularity"],
            "gate": {"must_beat": ["popularity"], "must_match": []},
            "slices": {"minimum_users": 10},
            "resamples": 200,
            "backtest": None,
        }
    )
    rows = []
    for user in range(40):
        name = f"u{user:02d}"
        rows += [(name, ITEMS[user % 3], "buy", (400 + user) * HOUR)]
        rows += [(name, "d", "view", (1001 + user) * HOUR)]
        rows += [(name, ITEMS[3 + user % 3], "buy", (1100 + user) * HOUR)]
    rows += [("zed", "d", "buy", 1500 * HOUR)]
    # Two people who click in the test window and take nothing.
    rows += [(f"idle{n}", "a", "click", 1200 * HOUR) for n in range(2)]
    dataset = dataset_of(rows, config, [FOLD], items=ITEMS)
    views = np.flatnonzero(dataset.log.actions == 1)
    shown = np.zeros(len(dataset.log), np.int32)
    shown[views] = 1
    chance = np.full(len(shown), np.nan)
    chance[views] = 0.25
    chance[views[:3]] = np.nan
    chance[views[3:5]] = 0.0
    chance[views[5:6]] = 1.5
    return config, replace(dataset, log=replace(dataset.log, exposures=Exposures(shown, chance)))


@pytest.fixture(scope="module")
def page() -> str:
    config, dataset = shop()
    candidate = popularity_model(dataset, config, [np.nan, 2, 2, 3, 1, 0])
    other = dataset_of(
        [("u00", "a", "buy", HOUR), ("u00", "z", "buy", 2 * HOUR)], config, [FOLD], "abcz"
    )
    champion = Champion("m-c", popularity_model(other, config, [4, 3, 2, 1]), FOLD.test_start)
    found = assess(dataset, [candidate], config, champion=champion)
    text = re.sub(r"<[^>]+>", " ", render(found.evidence, None))
    return re.sub(r"\s+", " ", html.unescape(text))


@pytest.mark.parametrize(
    "said",
    [
        "2 users did something in a test window but can't be scored",  # no relevant item
        "41 scores of candidate were NaN or infinite; these items were ranked last",
        "41 lists of candidate hold equal scores; such items stand in the order of the catalogue",
        "Ties go to the item that comes first in the catalogue",
        "It doesn't know 3 of the items; they were ranked last",
        "It ranks 1 items that the catalogue lacks; they were left out",
        "Nobody was tested in: ",  # an empty slice
        "3 rows set aside: propensity missing",
        "2 rows set aside: propensity 0",
        "1 rows set aside: propensity outside [0, 1]",
    ],
)
def test_the_page_says(said: str, page: str) -> None:
    assert said in page


def test_a_candidate_that_ranks_an_unknown_item_is_refused_by_name() -> None:
    config, dataset = shop()
    other = dataset_of([("u00", "z", "buy", HOUR)], config, [FOLD], "abcdez")
    model = popularity_model(other, config, [1, 2, 3, 4, 5, 6])
    with pytest.raises(EvaluationError, match="ranks 6 items, but the evaluation set"):
        assess(dataset, [model], config)


def test_a_frozen_set_of_another_data_version_is_refused_by_name() -> None:
    config, dataset = shop()
    requests = freeze(dataset, config.actions, 200, 10)
    longer = dataset_of([("u00", "z", "buy", HOUR)], config, [FOLD], "abcdefz")
    model = popularity_model(longer, config, [1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(EvaluationError, match=requests.version):
        score(model.scorer, 50, requests, np.arange(len(requests)), (10,), label="other")


def test_a_window_in_which_nobody_took_anything_is_refused_with_the_counts() -> None:
    config, _ = shop()
    idle = dataset_of([("u00", "a", "click", 1200 * HOUR)], config, [FOLD], ITEMS)
    with pytest.raises(EvaluationError, match="none of 1 users"):
        freeze(idle, config.actions, 200, 10)
