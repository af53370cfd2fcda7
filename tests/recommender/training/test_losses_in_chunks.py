"""What a large batch is compared with itself in: chunks, with the result of the whole."""

from __future__ import annotations

import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor
from torch.nn.functional import normalize

from recommender.config.model import ModelConfig
from recommender.config.self_supervision import SelfSupervisionConfig
from recommender.model.padded import Padded
from recommender.model.transformer import UnifiedTransformer
from recommender.training import augmentation, self_supervision
from recommender.training.augmentation import hidden, nearest
from recommender.training.losses import LOGITS_AT_ONCE
from recommender.training.self_supervision import SelfSupervision, _told_apart

MANY = 2_000
WIDTH, HISTORIES, EVENTS = 8, 80, 25


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (augmentation, self_supervision):
        monkeypatch.setattr(module, "LOGITS_AT_ONCE", 100)


def module_of(items: int) -> UnifiedTransformer:
    torch.manual_seed(3)
    shape = ModelConfig(width=WIDTH, layers=1, heads=1, history=EVENTS, text_width=4, dropout=0.0)
    known = torch.ones(items, dtype=torch.bool)
    module = UnifiedTransformer(
        shape, 2, torch.randn(items, 4), known, torch.zeros(items, 1), repeats=False
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def batch_of(items: int) -> tuple[Padded, Tensor]:
    """Histories that hold every item, most of them once."""
    rows = torch.arange(HISTORIES * EVENTS).view(HISTORIES, EVENTS) % items
    times = 1000 * torch.arange(EVENTS).expand(HISTORIES, -1)
    return Padded(rows, torch.ones_like(rows), times), torch.full((HISTORIES,), EVENTS)


def masked(module: UnifiedTransformer, items: int) -> tuple[Tensor, Tensor]:
    """Return the loss, and what hidden items are told from."""
    losses = SelfSupervision(SelfSupervisionConfig(masked=1.0, share=0.6))
    histories, lengths = batch_of(items)
    vectors = module.item_vectors(torch.arange(items)).detach().requires_grad_()
    read = torch.cat([vectors, vectors.new_zeros(1, WIDTH)])
    torch.manual_seed(9)
    return losses.masked(module, vectors, read, histories, lengths), vectors


def test_items_are_told_apart_in_chunks_as_at_once(few_at_once: None) -> None:
    torch.manual_seed(1)
    pair = [torch.randn(57, 6, requires_grad=True) for _ in range(2)]
    found = _told_apart(*pair, 0.3)
    one, other = (normalize(each, dim=1) for each in pair)
    logits = one @ other.T / 0.3
    own = torch.arange(57)
    entropy = torch.nn.functional.cross_entropy
    whole = (entropy(logits, own) + entropy(logits.T, own)) / 2
    torch.testing.assert_close(found, whole)
    for mine, expected in zip(
        torch.autograd.grad(found, pair), torch.autograd.grad(whole, pair), strict=True
    ):
        torch.testing.assert_close(mine, expected)


def test_hidden_items_are_named_in_chunks_as_at_once(few_at_once: None) -> None:
    items = 41
    module = module_of(items)
    found, vectors = masked(module, items)
    histories, lengths = batch_of(items)
    torch.manual_seed(9)
    hidden_BT = hidden(lengths, EVENTS, 0.6)
    read = torch.cat([vectors, vectors.new_zeros(1, WIDTH)])
    struck = Padded(
        histories.items.masked_fill(hidden_BT, items), histories.actions, histories.times
    )
    states = module.states(read, struck)[:, 1:][hidden_BT]
    logits = module.scaled(torch.nn.functional.rms_norm(states, (WIDTH,))) @ vectors.T
    whole = torch.nn.functional.cross_entropy(logits, histories.items[hidden_BT])
    torch.testing.assert_close(found, whole)
    (mine,), (expected,) = (torch.autograd.grad(loss, vectors) for loss in (found, whole))
    torch.testing.assert_close(mine, expected)


def test_the_nearest_in_words_is_found_in_chunks_as_at_once(few_at_once: None) -> None:
    torch.manual_seed(2)
    words = torch.randn(83, 5)
    words[::7] = 0
    alike = normalize(words, dim=1) @ normalize(words, dim=1).T
    alike.fill_diagonal_(-2)
    alike[:, ::7] = -2
    expected = alike.argmax(dim=1)
    expected[::7] = torch.arange(83)[::7]
    assert torch.equal(nearest(words), expected)


@pytest.mark.parametrize("what", ["told apart", "nearest", "masked"])
def test_a_large_batch_is_never_held_against_itself(what: str) -> None:
    torch.manual_seed(4)
    one, other = torch.randn(2, MANY, WIDTH).requires_grad_().unbind()
    module = module_of(MANY)
    with LargestTensor() as seen:
        if what == "told apart":
            _told_apart(one, other, 0.1).backward()
        elif what == "nearest":
            nearest(one.detach())
        else:
            masked(module, MANY)[0].backward()
    # As it would be at once: all against all, or six tenths of the events against all.
    assert 0.5 * MANY * MANY > 1.5 * LOGITS_AT_ONCE
    assert seen.elements <= LOGITS_AT_ONCE
