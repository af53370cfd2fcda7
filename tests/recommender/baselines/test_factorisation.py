"""Matrix factorisation: kinds of taste are found, and folding in solves what it says it solves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rival_worlds import HOUR, LIKED, SHOWN, config_of, groups

from recommender.artifact import Model
from recommender.baselines.neural.factorisation import Factorisation
from recommender.baselines.neural.factors import RIDGE
from recommender.baselines.rivals import fit
from recommender.features.sequences import Catalogue, Histories
from recommender.scoring import top_k


@pytest.fixture(scope="module", params=["matrix-factorisation", "matrix-factorisation-text"])
def model(request: pytest.FixtureRequest) -> Model:
    dataset = groups()
    return fit(request.param, dataset, dataset.folds[0], config_of(epochs=40, cases_per_batch=64))


def asked() -> Histories:
    rows = [([kind * 6 + 1, kind * 6 + 4], [LIKED] * 2, [HOUR, 2 * HOUR]) for kind in range(4)]
    return Histories.of([*rows, ([], [], []), ([1], [SHOWN], [HOUR])], [20 * HOUR] * 6)


def test_people_never_seen_in_training_get_the_rest_of_their_kind(model: Model) -> None:
    best, _ = top_k(model.scorer.scores(asked())[:4], 6)
    assert (best // 6 == np.arange(4)[:, None]).mean() > 0.9


def test_people_who_took_nothing_get_what_items_have_by_themselves(model: Model) -> None:
    scores = model.scorer.scores(asked())
    np.testing.assert_array_equal(scores[4], scores[5])
    np.testing.assert_allclose(scores[4], model.scorer.weights()["bias"], atol=1e-6)


def test_a_saved_factorisation_answers_alike(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model").scorer
    np.testing.assert_array_equal(again.scores(asked()), model.scorer.scores(asked()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(0, 19), max_size=6), st.integers(1, 5))
def test_folding_in_minimises_the_loss_of_one_user(
    seed: int, taken: list[int], negatives: int
) -> None:
    torch.manual_seed(seed)
    items, bias = torch.randn(20, 5), torch.randn(20) / 2
    scorer = Factorisation(
        Catalogue(tuple(str(number) for number in range(20))),
        items,
        bias,
        torch.arange(0, 20, 2),
        torch.ones(20, dtype=torch.bool),
        (LIKED,),
        negatives,
        8,
    )
    rows = [(taken, [LIKED] * len(taken), list(range(len(taken)))), ([3], [LIKED], [0])]
    user = scorer.users(Histories.of(rows, [99, 99]))[0].double().requires_grad_()
    if not taken:
        assert not user.any()
        return
    logits = items.double() @ user + bias.double()
    own = torch.nn.functional.softplus(-logits[taken]).mean()
    drawn = torch.nn.functional.softplus(logits[::2]).mean()
    loss = own + negatives * drawn + RIDGE / 2 * user.square().sum()
    loss.backward()
    assert user.grad is not None
    assert user.grad.abs().max() < 1e-3
