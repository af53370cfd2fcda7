"""Items are found by words that they share with the history, also those nobody has taken."""

import numpy as np
import pytest
import torch
from model_sizes import ACTIONS, ITEMS, START
from pydantic import ValidationError

from recommender.config.model import ModelConfig
from recommender.export.state_scorer import StateScorer
from recommender.features.sequences import Catalogue, Histories
from recommender.model.extended import extended, part_of
from recommender.model.heads import Contexts
from recommender.model.matching import TextMatch
from recommender.model.modalities import modalities_of, tensors_of
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer

CATALOGUE = Catalogue(tuple(f"i{row}" for row in range(ITEMS)))
LIKE, UNLIKE = 20, 21
"""Items without an id part: of the words of item 0, and of no words of the history."""


def asking(*places: int) -> Contexts:
    """Moments of one history, after so many of its events."""
    where = torch.tensor(places)
    return Contexts(torch.zeros_like(where), where, torch.zeros_like(where))


def test_a_history_asks_by_the_sum_of_its_texts_at_the_length_of_one():
    match, text = TextMatch(2), torch.tensor([[3.0, 0, 9], [0, 5, 9]])
    asked = match.asked(text, torch.tensor([[0, 1, 1]]), asking(0, 1, 2, 3))
    wanted = torch.tensor([[0, 0], [3, 0], [3 / 2**0.5, 5 / 2**0.5], [3 / 3**0.5, 10 / 3**0.5]])
    torch.testing.assert_close(asked, wanted)


def test_events_weigh_by_how_many_came_since():
    match, text = TextMatch(1), torch.tensor([[1.0], [10.0]])
    with torch.no_grad():
        match.since_1N[0, 1] = np.log(0.5)
    asked = match.asked(text, torch.tensor([[0, 1]]), asking(2))
    assert asked.item() == pytest.approx((0.5 * 1 + 10) / (0.5**2 + 1) ** 0.5)


def test_items_without_an_id_part_have_a_weight_of_their_own():
    match, text = TextMatch(4), torch.ones(2, 4)
    with torch.no_grad():
        match.without_id.fill_(0.5)
        match.with_id.fill_(-2.0)
    added = match(torch.ones(1, 4), text, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(added, torch.tensor([[0.5 * 4 / 2, -2.0 * 4 / 2]]))
    torch.testing.assert_close(torch.ones(1, 4) @ match.columns(text, torch.arange(2.0)).T, added)


def model(**change) -> UnifiedTransformer:
    """A fresh model of items of which the last three were never taken."""
    torch.manual_seed(4)
    text = torch.randn(ITEMS, 6)
    text[LIKE], text[UNLIKE] = text[0], -text[0]
    known = torch.arange(ITEMS) < LIKE
    config = ModelConfig(width=16, heads=2, layers=1, history=8, **change)
    return UnifiedTransformer(config, ACTIONS, text, known, torch.zeros(ITEMS, 2), repeats=True)


def of_item_0(*earlier: int) -> Histories:
    rows = [*earlier, 0]
    times = [START + place for place in range(len(rows))]
    return Histories.of([(rows, [1] * len(rows), times)], [START + 10_000])


def test_an_unseen_item_of_the_histories_words_gets_ahead():
    fresh = TransformerScorer(model(text_match=True), CATALOGUE)
    plain = TransformerScorer(model(), CATALOGUE)
    np.testing.assert_array_equal(fresh.scores(of_item_0(3)), plain.scores(of_item_0(3)))
    learned = model(text_match=True)
    with torch.no_grad():
        learned.match.without_id.fill_(3.0)
    gained = TransformerScorer(learned, CATALOGUE).scores(of_item_0(3)) - plain.scores(of_item_0(3))
    assert gained[0, LIKE] > 1 > -1 > gained[0, UNLIKE]
    np.testing.assert_allclose(gained[0, :LIKE], 0, atol=1e-5)
    nobody = Histories.of([([], [], [])], [START])
    np.testing.assert_allclose(
        TransformerScorer(learned, CATALOGUE).scores(nobody), plain.scores(nobody), atol=1e-5
    )


def test_queries_and_item_vectors_of_an_index_give_the_scores(module, histories):
    made = module(text_match=True, known=np.arange(ITEMS) < LIKE)
    scorer, asked = StateScorer(made, CATALOGUE), histories(5, 0, 8, 2)
    retrieval = scorer.retrieval(asked)
    found = retrieval.query_BE @ scorer.item_vectors().T
    owner = np.repeat(np.arange(len(asked)), asked.lengths)
    np.add.at(found, (owner, asked.items), retrieval.added)
    np.testing.assert_allclose(found, TransformerScorer(made, CATALOGUE).scores(asked), atol=1e-4)


def test_a_history_that_grows_is_answered_from_what_is_kept(module, histories):
    made = module(text_match=True)
    grown, whole = histories(6), TransformerScorer(made, CATALOGUE)
    serving = StateScorer(made, CATALOGUE, keys_values=True)
    for length in range(1, 7):
        parts = [part[:length].tolist() for part in (grown.items, grown.actions, grown.times)]
        asked = Histories.of([tuple(parts)], [START + 10**10])
        np.testing.assert_allclose(serving.scores(asked), whole.scores(asked), atol=1e-4)
    assert serving.states.grown == 5


def test_new_items_are_matched_like_those_training_never_saw(module):
    made = module(text_match=True, known=np.arange(ITEMS) < LIKE)
    scorer = TransformerScorer(made, CATALOGUE)
    rows = [(items, [1] * len(items), [START + n for n in items]) for items in ([0], [3, 7], [5])]
    asked = Histories.of(rows, [START + 99] * len(rows))
    known = scorer.scores(asked)
    more = extended(scorer, ["new"], made.tower.text_IV[LIKE : LIKE + 1].numpy()).scores(asked)
    np.testing.assert_allclose(more[:, :ITEMS], known, atol=1e-5)
    # Popularity is all that tells the two apart, and that is the same for everybody.
    apart = more[:, -1] - known[:, LIKE]
    np.testing.assert_allclose(apart, apart[0], atol=1e-4)
    assert np.ptp(known[:, LIKE]) > 0.1


def test_few_items_are_matched_as_among_all(module):
    made = module(text_match=True, known=np.arange(ITEMS) < LIKE)
    scorer = TransformerScorer(made, CATALOGUE)
    few = part_of(scorer, np.array([2, LIKE]))
    found, wanted = (
        each.scores(Histories.of([(items, [1, 1], [START, START + 5])], [START + 99]))
        for each, items in ((few, [0, 1]), (scorer, [2, LIKE]))
    )
    np.testing.assert_allclose(found[0, :2], wanted[0, [2, LIKE]], atol=1e-4)


def test_items_told_apart_by_words_alone_score_alike_where_text_is_hidden(module):
    made = module(text_match=True, known=np.arange(ITEMS) < LIKE)
    (hidden,) = [each for each in modalities_of(made, 1) if each.name == "text"]
    with torch.no_grad():
        made.popularity.popularity_IF.zero_()
        before = TransformerScorer(made, CATALOGUE).scores(of_item_0(3))
        tensors = tensors_of(made)
        for name, edit in hidden.edits.items():
            tensors[name].copy_(edit(tensors[name]))
        after = TransformerScorer(made, CATALOGUE).scores(of_item_0(3))
    assert np.ptp(before[0, LIKE:]) > 0.1
    np.testing.assert_allclose(after[0, LIKE:], after[0, LIKE], atol=1e-5)


def test_a_model_without_it_has_the_weights_that_older_artifacts_hold(module):
    assert not [name for name in module().state_dict() if name.startswith("match")]


def test_it_is_on_or_off():
    with pytest.raises(ValidationError, match="text_match"):
        ModelConfig(text_match=3)
