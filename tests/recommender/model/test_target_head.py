"""The ranking head that looks at the history: what was not there yet is not seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_sizes import ITEMS, START

from recommender.config.ranking import RankingConfig, ValueConfig
from recommender.features.sequences import Catalogue, Histories
from recommender.model.extended import extended, part_of
from recommender.model.heads import Contexts
from recommender.model.padded import Padded
from recommender.model.ranking import Asked
from recommender.model.scorer import TransformerScorer

VALUE = ValueConfig(name="rating", events=("b",))
TARGET = RankingConfig(head="target", values=(VALUE,))
ATOL = 1e-5


def test_many_moments_of_one_history_are_judged_as_each_would_be_alone(module, histories) -> None:
    made = module(ranking=TARGET)
    whole = histories(7, 4)
    padded = Padded.cut(whole, whole.offsets[:-1], whole.lengths)
    # Of the first history four moments, one twice; of the second one.
    contexts = Contexts(
        torch.tensor([0, 0, 0, 1]), torch.tensor([0, 2, 7, 3]), torch.tensor([START] * 4) + 10**10
    )
    context_M, item_M = torch.tensor([0, 1, 1, 2, 3]), torch.tensor([1, 2, 5, 1, 7])
    with torch.no_grad():
        items_ID = made.item_vectors()
        asked = Asked(context_M, item_M, item_M, made.popularity.popularity_IF[item_M])
        read = made.read(items_ID, padded, contexts)
        together = made.judged_in_training(items_ID, padded, contexts, read, asked)
        for place, (context, item) in enumerate(zip(context_M, item_M, strict=True)):
            row, position = int(contexts.row[context]), contexts.position[context]
            start = whole.offsets[row : row + 1]
            # Only what lies before the moment.
            alone = Padded.cut(whole, start, position[None].numpy())
            moment = Contexts(torch.zeros(1, dtype=torch.int64), position[None], contexts.now[:1])
            judged = made.judged(items_ID, alone, moment, item[None, None])
            np.testing.assert_allclose(together.logits[place], judged.logits[0, 0], atol=ATOL)
            assert together.values is not None
            assert judged.values is not None
            np.testing.assert_allclose(together.values[place], judged.values[0, 0], atol=ATOL)


def test_an_item_that_was_met_is_judged_by_how_and_when(scorer) -> None:
    model = scorer(ranking=TARGET)

    def asked(item: int, action: int, time: int) -> np.ndarray:
        history = Histories.of([([item, 9], [action, 1], [time, START])], [START + 10**7])
        return model.action_probabilities(history, np.array([[3]]))[0, 0]

    met = asked(3, 1, START - 10**6)
    for other in (
        asked(4, 1, START - 10**6),
        asked(3, 2, START - 10**6),
        asked(3, 1, START - 10**9),
    ):
        assert np.abs(np.log(met) - np.log(other)).max() > 1e-3


def test_new_items_have_no_opinion_of_their_own_and_leave_others_as_they_were(
    scorer, histories
) -> None:
    model, asked = scorer(ranking=TARGET), histories(5, 0)
    more = extended(model, ["new"], np.zeros((1, 6), np.float32))
    assert not more.weights()["action.target.own_ID"][-1].any()
    items = np.array([[0, 1], [2, 3]])
    for one, other in (
        (model.action_probabilities, more.action_probabilities),
        (model.expected_values, more.expected_values),
    ):
        np.testing.assert_allclose(one(asked, items), other(asked, items), atol=ATOL)
    assert np.isfinite(more.action_probabilities(asked, np.full((2, 1), ITEMS))).all()
    part = part_of(model, np.array([4, 2]))
    assert part.catalogue.ids == ("i4", "i2")


def test_a_model_with_values_is_the_same_after_saving(module, histories) -> None:
    made = module(ranking=TARGET)
    assert made.action.values is not None
    made.action.values.measure(("a", "b", "c"), torch.tensor([[2.0], [5.0]]))
    model = TransformerScorer(made, Catalogue(tuple(f"i{row}" for row in range(ITEMS))))
    again = TransformerScorer.restore(model.settings(), model.weights(), model.catalogue)
    assert again.value_names == model.value_names == (None, "rating", None)
    asked, items = histories(3, 0), np.array([[1, 2], [3, 4]])
    told = model.expected_values(asked, items)
    np.testing.assert_array_equal(again.expected_values(asked, items), told)
    assert np.isnan(told[..., [0, 2]]).all()
    assert np.isfinite(told[..., 1]).all()
    plain = TransformerScorer(module(), model.catalogue)
    assert plain.value_names == (None, None, None)
    assert np.isnan(plain.expected_values(asked, items)).all()


def test_a_head_of_before_is_refused_by_what_it_has(scorer) -> None:
    model = scorer(ranking=TARGET)
    weights = model.weights() | {"action.target.own_IO": np.zeros((ITEMS, 3), np.float32)}
    with pytest.raises(ValueError, match="train again"):
        TransformerScorer.restore(model.settings(), weights, model.catalogue)


def test_nobody_has_an_opinion_of_an_item_that_nobody_took(scorer, histories) -> None:
    model = scorer(ranking=TARGET)
    told = dict(model.weights())
    known = told["tower.known_I"].copy()
    known[3] = 0
    told |= {"tower.known_I": known, "popularity.known_I": known}
    other = {**told, "action.target.own_ID": told["action.target.own_ID"].copy()}
    other["action.target.own_ID"][3] += 1
    answers = [
        TransformerScorer.restore(model.settings(), weights, model.catalogue).action_probabilities(
            histories(5, 0), np.array([[3, 2], [3, 2]])
        )
        for weights in (told, other)
    ]
    np.testing.assert_array_equal(*answers)
