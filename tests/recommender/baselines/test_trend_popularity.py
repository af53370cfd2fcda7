"""Ranking by forecast demand: what rises is foreseen, the future is not seen."""

from __future__ import annotations

import numpy as np
import pytest
from demand_worlds import DAY, MONDAY, bought, config_of, world

from recommender.artifact import Model
from recommender.baselines.popularity import RecentPopularity
from recommender.baselines.rivals import fit
from recommender.baselines.trend_popularity import TrendPopularity
from recommender.config.evaluation import GateConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Histories
from recommender.scoring import top_k
from recommender.split import Fold

NOBODY = Histories.of([([], [], [])], now=[10])
PERIODS = 70
END = MONDAY + PERIODS * DAY
ITEMS = [
    {"item_id": "a rising", "categories": ["x"]},
    {"item_id": "b steady", "categories": ["y"]},
    {"item_id": "c never", "categories": ["y"]},
    {"item_id": "d once", "categories": ["y"]},
]
DEMAND = {
    "a rising": np.arange(PERIODS) // 4,
    "b steady": np.full(PERIODS, 16),
    "d once": [1] + [0] * (PERIODS - 1),
}


def scorer(events, **trends) -> TrendPopularity:
    config = config_of(**trends)
    log, table = world(events, ITEMS, config)
    return TrendPopularity.ahead(log, table, config, END)


def order(found) -> list[str]:
    items, _ = top_k(found.scores(NOBODY), len(ITEMS))
    return [found.catalogue.ids[row] for row in items[0]]


def test_it_ranks_by_what_is_to_come_where_the_past_still_says_otherwise() -> None:
    config = config_of()
    log, table = world(bought(DEMAND), ITEMS, config)
    ahead = TrendPopularity.ahead(log, table, config, END)
    recent = RecentPopularity.fit(log, ahead.catalogue, config.actions, END)
    assert order(recent)[:2] == ["b steady", "a rising"]
    assert order(ahead)[:2] == ["a rising", "b steady"]


def test_what_was_taken_ever_stands_before_what_never_was() -> None:
    assert order(scorer(bought(DEMAND)))[2:] == ["d once", "c never"]


def test_events_at_or_after_the_cut_change_nothing() -> None:
    future = [(f"x{n}", "c never", "buy", END + n) for n in range(500)]
    one, other = scorer(bought(DEMAND)), scorer(bought(DEMAND) + future)
    np.testing.assert_array_equal(one.weights()["counts"], other.weights()["counts"])


def test_it_is_a_rival_that_the_gate_does_not_ask_for_and_survives_the_disk(tmp_path) -> None:
    config = config_of()
    assert "trend-popularity" in config.evaluation.rivals
    assert "trend-popularity" not in {*GateConfig().must_beat, *GateConfig().must_match}
    log, table = world(bought(DEMAND), ITEMS, config)
    fold = Fold(END - 2 * DAY, END, END + DAY)
    dataset = Dataset(log, table, np.zeros((4, 2), np.float32), (fold,), "d", "e")
    model = fit("trend-popularity", dataset, fold, config)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    assert isinstance(again, TrendPopularity)
    np.testing.assert_array_equal(again.scores(NOBODY), model.scorer.scores(NOBODY))


@pytest.mark.parametrize("period", ["hour", "week"])
def test_other_periods_work_too(period) -> None:
    found = scorer(bought(DEMAND), period=period)
    assert np.isfinite(found.scores(NOBODY)).all()


@pytest.mark.parametrize("rival", ["ar-popularity", "ma-popularity", "arma-popularity"])
def test_each_method_can_be_named_and_forecasts_items_by_itself(rival, tmp_path) -> None:
    method = rival.removesuffix("-popularity")
    config = config_of()
    log, table = world(bought(DEMAND), ITEMS, config)
    fold = Fold(END - 2 * DAY, END, END + DAY)
    dataset = Dataset(log, table, np.zeros((4, 2), np.float32), (fold,), "d", "e")
    model = fit(rival, dataset, fold, config)
    configured = scorer(bought(DEMAND), category_method=method, item_method=method)
    found = model.scorer.scores(NOBODY)
    np.testing.assert_array_equal(found, configured.scores(NOBODY))
    assert not np.array_equal(found, scorer(bought(DEMAND)).scores(NOBODY))
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    assert again.kind == rival
    np.testing.assert_array_equal(again.scores(NOBODY), found)


def test_sarima_knows_which_day_of_the_week_is_whose() -> None:
    days = np.arange(PERIODS) % 7
    demand = {"a rising": np.where(days == 0, 40, 2), "b steady": np.full(PERIODS, 12)}
    config = config_of(horizon=1)
    log, table = world(bought(demand), ITEMS, config)
    for cut, first in ((END - DAY, "b steady"), (END, "a rising")):
        fold = Fold(cut - 2 * DAY, cut, cut + DAY)
        dataset = Dataset(log, table, np.zeros((4, 2), np.float32), (fold,), "d", "e")
        assert order(fit("sarima-popularity", dataset, fold, config).scorer)[0] == first
