"""Values that came of cases, and models that are judged by them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from evaluation_world import config_of, dataset_of

from recommender.config.ranking import ValueConfig
from recommender.evaluation.values import judge_values
from recommender.features.cases import carried, cases
from recommender.split import Fold

HOUR, MINUTE = 3_600_000, 60_000
FOLD = Fold(50 * HOUR, 100 * HOUR, 200 * HOUR)
DWELL = ValueConfig(name="dwell", events=("click",))
PAID = ValueConfig(name="paid", events=("buy",))

# Of a click it is the time of stay, of a purchase the price.
ROWS = [
    ("u1", "a", "click", 10 * HOUR, 10.0),
    ("u2", "a", "click", 11 * HOUR, 20.0),
    ("u1", "a", "view", 110 * HOUR, None),
    ("u1", "a", "click", 110 * HOUR + MINUTE, 30.0),
    ("u1", "a", "click", 110 * HOUR + 2 * MINUTE, 99.0),
    ("u1", "a", "buy", 110 * HOUR + 3 * MINUTE, 7.0),
    ("u2", "b", "view", 120 * HOUR, None),
    ("u2", "b", "click", 199 * HOUR + 50 * MINUTE, 40.0),
    ("u2", "b", "click", 300 * HOUR, 50.0),
]


@pytest.fixture
def dataset():
    config = config_of()
    made = dataset_of([row[:4] for row in ROWS], config, [FOLD])
    order = np.lexsort(([row[3] for row in ROWS], [row[0] for row in ROWS]))
    given = np.array([np.nan if row[4] is None else row[4] for row in ROWS], np.float32)[order]
    return dataclasses.replace(made, log=dataclasses.replace(made.log, values=given))


class Oracle:
    """Expects 25 of every click and 5 of every purchase."""

    value_names = (None, "dwell", "paid")

    def expected_values(self, histories, items):
        return np.broadcast_to(np.array([np.nan, 25.0, 5.0], np.float32), (*items.shape, 3))


def test_the_first_value_of_a_session_counts_and_nothing_from_behind_the_end(dataset) -> None:
    log, size = dataset.log, len(dataset.catalogue)
    found = cases(log, size, FOLD.test_start, FOLD.test_end)
    values = carried(log, size, found, [[2], [3]], FOLD.test_end)
    np.testing.assert_array_equal(
        values, np.array([[30, 7], [np.nan, np.nan], [40, np.nan]], np.float32)
    )
    early = carried(log, size, found, [[2]], 110 * HOUR)
    assert np.isnan(early).all()


def test_a_model_is_judged_beside_what_the_item_alone_tells(dataset) -> None:
    config = config_of()
    dwell, paid = judge_values(
        Oracle(), dataset, FOLD, config.actions, [DWELL, PAID], history_limit=10, most=100, seed=1
    )
    assert (dwell.name, dwell.cases, dwell.users, dwell.mean) == ("dwell", 2, 2, 35.0)
    assert dwell.mse == pytest.approx((5**2 + 15**2) / 2)
    assert dwell.mae == pytest.approx(10)
    # Before the cut "a" had 10 and 20, all clicks 15 on average: that is told of "b", too.
    assert dwell.item_mae == pytest.approx((15 + 25) / 2)
    assert (paid.cases, paid.rmse) == (1, pytest.approx(2))
    nobody = ValueConfig(name="seen", events=("view",))
    assert not judge_values(
        Oracle(), dataset, FOLD, config.actions, [nobody], history_limit=10, most=9, seed=1
    )
