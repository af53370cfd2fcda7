"""DIN and xDeepFM: the mathematics of their parts, a planted taste, the past alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rival_worlds import HOUR, LIKED, SHOWN, config_of, tastes, with_window

from recommender.artifact import Model
from recommender.baselines.neural.din import ActivationUnit, Dice
from recommender.baselines.neural.past_popularity import PastPopularity
from recommender.baselines.neural.ranking_cases import RankingCases
from recommender.baselines.neural.xdeepfm import CIN
from recommender.baselines.rivals import RANKERS, fit
from recommender.config.evaluation import Rival
from recommender.evaluation.metrics.classification import auc
from recommender.features.sequences import Histories
from recommender.scoring import ActionModel

CONFIG = config_of(epochs=9, cases_per_batch=64, learning_rate=1e-2)


def fans() -> Histories:
    """Somebody who liked films of even numbers, somebody who liked odd ones, and nobody."""
    rows = [
        ([0, 1, 2, 3], [LIKED, SHOWN, LIKED, SHOWN], [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]),
        ([0, 1, 2, 3], [SHOWN, LIKED, SHOWN, LIKED], [HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]),
        ([], [], []),
    ]
    return Histories.of(rows, [6 * HOUR] * 3)


@pytest.fixture(scope="module", params=RANKERS)
def ranker(request: pytest.FixtureRequest) -> Model:
    dataset = tastes()
    return fit(request.param, dataset, dataset.folds[0], CONFIG)


def test_a_taste_that_neither_film_nor_person_tells_alone_is_learned(ranker: Model) -> None:
    assert isinstance(ranker.scorer, ActionModel)
    films = np.tile(np.arange(4, 16), (3, 1))
    chances = ranker.scorer.action_probabilities(fans(), films)
    assert chances.shape == (3, 12, 2)
    np.testing.assert_allclose(chances.sum(axis=2), 1, rtol=1e-5)
    even = films[0] % 2 == 0
    assert auc(even, chances[0, :, 1].astype(np.float64)) > 0.95
    assert auc(~even, chances[1, :, 1].astype(np.float64)) > 0.95


def test_scores_order_the_catalogue_by_the_chance_of_a_success(ranker: Model) -> None:
    every = np.tile(np.arange(16), (3, 1))
    assert isinstance(ranker.scorer, ActionModel)
    chances = ranker.scorer.action_probabilities(fans(), every)[..., 1]
    scores = ranker.scorer.scores(fans())
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), chances, rtol=1e-4)


def test_what_is_asked_about_together_and_in_small_blocks_gets_the_same_answers(
    ranker: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ranker.scorer.scores(fans())
    alone = np.concatenate([ranker.scorer.scores(fans().slice(row, row + 1)) for row in range(3)])
    np.testing.assert_allclose(alone, whole, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("recommender.baselines.neural.ranker._NUMBERS", 1)
    np.testing.assert_allclose(ranker.scorer.scores(fans()), whole, rtol=1e-4, atol=1e-5)


def test_a_saved_ranker_answers_alike(ranker: Model, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    np.testing.assert_array_equal(again.scorer.scores(fans()), ranker.scorer.scores(fans()))
    assert type(again.scorer) is type(ranker.scorer)


@pytest.mark.parametrize("rival", RANKERS)
def test_nothing_at_or_after_the_test_window_is_learned(rival: Rival) -> None:
    dataset = with_window(tastes(users=30), 0.5)
    times = np.sort(dataset.log.times)
    fold = replace(dataset.folds[0], test_start=int(times[int(0.8 * len(times))]))
    log = dataset.log
    later = log.times >= fold.test_start
    assert later.any()
    changed = replace(
        dataset,
        log=replace(
            log,
            items=np.where(later, (log.items + 1) % 16, log.items).astype(np.int32),
            actions=np.where(later, 3 - log.actions, log.actions).astype(np.int8),
        ),
    )
    config = config_of(epochs=2)
    one, other = (fit(rival, each, fold, config).scorer for each in (dataset, changed))
    np.testing.assert_array_equal(one.scores(fans()), other.scores(fans()))


def test_every_case_before_the_cut_is_in_one_batch_with_what_lay_strictly_before() -> None:
    dataset = tastes(users=9)
    cut = int(np.median(dataset.log.times))
    found = RankingCases.between(dataset, 0, cut, CONFIG)
    assert len(found) == (dataset.log.times < cut).sum()
    seen = 0
    past = PastPopularity.before(dataset, cut, CONFIG)
    for batch in found.batches(7, past, np.random.default_rng(0)):
        seen += len(batch.reached)
        inside = batch.asked.events.actions > 0
        assert (batch.asked.events.times < batch.asked.now[:, None])[inside].all()
        assert (batch.asked.now < cut).all()
    assert seen in {len(found), len(found) - 1}


def test_popularity_is_that_of_the_past_alone() -> None:
    dataset = tastes(users=20)
    cut = int(np.median(dataset.log.times))
    past = PastPopularity.before(dataset, cut, CONFIG)
    liked = dataset.log.actions == LIKED
    moments = np.arange(HOUR, cut, HOUR)
    for item in range(3):
        known = past.of(np.full(len(moments), item), moments)[:, 0]
        mine = dataset.log.times[liked & (dataset.log.items == item)]
        # Never more than what had happened by then; at the cut, all of it.
        happened = (mine[None] < np.maximum(moments, past.moments[0])[:, None]).sum(axis=1)
        assert (known <= np.log(happened + 0.5) + 1e-5).all()
        assert past.latest_IF[item, 0] == pytest.approx(np.log((mine < cut).sum() + 0.5))


def test_the_quality_of_a_perfect_and_of_a_blind_answer() -> None:
    dataset = tastes(users=20)
    found = RankingCases.between(dataset, 0, dataset.folds[0].test_start, CONFIG)

    def perfect(histories: Histories, items: np.ndarray) -> np.ndarray:
        first = histories.items[histories.offsets[:-1].clip(max=len(histories.items) - 1)]
        liked = histories.actions[histories.offsets[:-1].clip(max=len(histories.items) - 1)]
        taste = (first + (liked != LIKED)) % 2
        answer = np.where(items[:, 0] % 2 == taste, 0.9, 0.1)
        return np.stack([1 - answer, answer], axis=1)[:, None].astype(np.float32)

    blind = np.full((1, 1, 2), 0.5, np.float32)
    # The first film of each person is asked about with nothing known.
    assert found.quality(perfect, 0) > 0.85
    assert found.quality(lambda h, i: np.repeat(blind, len(i), 0), 0) == 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_the_activation_unit_by_parts_is_the_layer_over_the_four_side_by_side(
    batch: int, candidates: int, events: int
) -> None:
    torch.manual_seed(batch)
    width = 6
    unit = ActivationUnit(width).eval()
    events_BTD = torch.randn(batch, events, width)
    candidates_BKD = torch.randn(batch, candidates, width)
    # [e, c, e - c, e × c] @ [P; Q; R; S] = e @ (P + R) + c @ (Q - R) + (e × c) @ S
    r = torch.randn(width, 80)
    p, q, s = unit.event.weight.T - r, unit.candidate.weight.T + r, unit.both.weight.T
    e = events_BTD[:, None].expand(-1, candidates, -1, -1)
    c = candidates_BKD[:, :, None].expand(-1, -1, events, -1)
    joined = torch.cat([e, c, e - c, e * c], dim=-1) @ torch.cat([p, q, r, s])
    expected = unit.out(unit.rest(joined + unit.event.bias))[..., 0]
    actual = unit(events_BTD, candidates_BKD)
    assert actual.shape == (batch, candidates, events)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_dice_is_a_rectifier_between_its_two_slopes() -> None:
    dice = Dice(1)
    torch.nn.init.constant_(dice.alpha_H, 0.25)
    x = torch.tensor([[-100.0], [0.0], [100.0]])
    dice.spread.running_mean.zero_()
    dice.spread.running_var.fill_(1.0)
    torch.testing.assert_close(dice.eval()(x), torch.tensor([[-25.0], [0.0], [100.0]]))


def test_one_layer_of_the_interaction_network_by_hand() -> None:
    torch.manual_seed(0)
    fields, width, maps = 3, 5, 4
    network = CIN(fields, (maps, 2))
    x = torch.randn(7, fields, width)
    first = network.weights[0].view(maps, fields, fields)
    expected = torch.zeros(7, maps, width)
    for h in range(maps):
        for i in range(fields):
            for j in range(fields):
                expected[:, h] += first[h, i, j] * x[:, i] * x[:, j]
    second = network.weights[1].view(2, maps, fields)
    deeper = torch.einsum("ghm,xhd,xmd->xgd", second, expected, x)
    answer = torch.cat([expected.sum(-1), deeper.sum(-1)], dim=1)
    torch.testing.assert_close(network(x), answer, rtol=1e-4, atol=1e-4)
