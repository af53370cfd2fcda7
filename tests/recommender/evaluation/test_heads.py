"""The action head, judged on cases that are known."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_world import config_of, dataset_of

from recommender.evaluation.heads import judge_heads
from recommender.split import Fold

TYPES = ("view", "click", "buy")
HOUR = 3_600_000
FOLD = Fold(900 * HOUR, 1000 * HOUR, 2000 * HOUR)


def _rows():
    """Half of the cases of "a" are bought, those of "b" never more than viewed."""
    rows = []
    for user in range(40):
        rows += [(f"u{user:02d}", "a", "buy" if user % 2 else "view", (500 + user) * HOUR)]
        rows += [(f"u{user:02d}", "b", "view", (600 + user) * HOUR)]
        rows += [(f"u{user:02d}", "a", "buy" if user % 2 else "click", (1100 + user) * HOUR)]
        rows += [(f"u{user:02d}", "b", "view", (1200 + user) * HOUR)]
    return rows


class Oracle:
    """Knows that "a" is always clicked and half the time bought; notes what it is asked with."""

    def __init__(self, catalogue) -> None:
        self.a = catalogue.index["a"]
        self.latest: list[int] = []

    def action_probabilities(self, histories, items):
        self.latest += [
            int(histories.slice(b, b + 1).times.max(initial=0)) for b in range(len(items))
        ]
        is_a = (items == self.a)[..., None]
        return np.where(is_a, [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]).astype(np.float32)


@pytest.fixture
def judged():
    config = config_of()
    dataset = dataset_of(_rows(), config, [FOLD])
    oracle = Oracle(dataset.catalogue)
    found = judge_heads(oracle, dataset, FOLD, config.actions, history_limit=10, most=1000, seed=1)
    return oracle, {head.event: head for head in found}


def test_every_type_but_the_least_is_judged_as_at_least_this_far(judged) -> None:
    _, heads = judged
    assert list(heads) == ["click", "buy"]
    assert (heads["click"].cases, heads["click"].positives) == (80, 40)
    assert (heads["buy"].cases, heads["buy"].positives) == (80, 20)


def test_an_oracle_of_clicks_is_perfect_and_calibrated(judged) -> None:
    click = judged[1]["click"]
    assert click.auc == click.user_auc == 1.0
    assert click.curve.error == pytest.approx(0.0)
    assert click.decisions.f1 == 1.0
    assert click.judged_users == 40


def test_half_known_purchases_are_ranked_as_they_can_be(judged) -> None:
    buy = judged[1]["buy"]
    # Positives (20 of "a") against 20 other "a" (tied) and 40 "b" (below).
    assert buy.auc == pytest.approx((20 * 0.5 + 40) / 60)
    assert buy.curve.error == pytest.approx(0.0)


def test_the_items_own_share_is_from_before_the_cut(judged) -> None:
    buy = judged[1]["buy"]
    # Before the cut half of "a" was bought, never "b": the item alone tells them apart as well.
    assert buy.item_auc == pytest.approx(buy.auc)
    assert buy.item_log_loss > buy.log_loss


def test_a_case_is_asked_with_what_lay_strictly_before_it(judged) -> None:
    oracle, _ = judged
    config = config_of()
    dataset = dataset_of(_rows(), config, [FOLD])
    inside = (dataset.log.times >= FOLD.test_start) & (dataset.log.times < FOLD.test_end)
    assert len(oracle.latest) == inside.sum()
    assert (np.array(oracle.latest) < dataset.log.times[inside]).all()


def test_beyond_the_limit_cases_are_drawn_and_no_cases_are_no_heads() -> None:
    config = config_of()
    dataset = dataset_of(_rows(), config, [FOLD])
    oracle = Oracle(dataset.catalogue)
    some = judge_heads(oracle, dataset, FOLD, config.actions, history_limit=10, most=30, seed=1)
    assert some[0].cases == 30
    later = Fold(5000 * HOUR, 6000 * HOUR, 7000 * HOUR)
    assert (
        judge_heads(oracle, dataset, later, config.actions, history_limit=10, most=9, seed=1) == ()
    )
