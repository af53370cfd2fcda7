"""Losses over a set of items that stands for the catalogue."""

import math

import pytest
import torch
from tiny_world import ACTIONS, tiny_config

from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, plan, with_empty
from recommender.training.examples import Examples
from recommender.training.generalised_bce import generalised_bce
from recommender.training.losses import Targets
from recommender.training.negatives import Negatives
from recommender.training.objective import Objective


def test_an_item_is_in_a_set_as_often_as_is_said():
    torch.manual_seed(0)
    counts = torch.tensor([100.0, 30, 10, 5, 1, 0])
    negatives = Negatives(counts, 4, 0.5)
    seen, told, rounds = torch.zeros(6), torch.zeros(6), 4_000
    for _ in range(rounds):
        targets = torch.multinomial(counts, 2, replacement=True)
        columns, inside = negatives.draw(targets)
        assert set(targets.tolist()) <= set(columns.tolist())
        assert columns.tolist() == sorted(set(columns.tolist()))
        seen[columns] += 1
        told[columns] = inside.exp()
    torch.testing.assert_close(seen / rounds, told, rtol=0.08, atol=0.02)


def test_weighed_by_its_rarity_a_set_adds_up_to_the_catalogue():
    """What logQ correction is for: the sum over the set is right on average."""
    torch.manual_seed(1)
    counts, logits = torch.rand(50) + 0.1, torch.randn(50)
    negatives = Negatives(counts, 12, 0.5)
    sums = []
    for _ in range(3_000):
        targets = torch.multinomial(counts, 4, replacement=True)
        columns, inside = negatives.draw(targets)
        sums.append((logits[columns] - inside).exp().sum())
    assert torch.stack(sums).mean().item() == pytest.approx(logits.exp().sum().item(), rel=0.03)


def test_the_binary_loss_by_hand_and_without_calibration_is_plain():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    targets = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([2.0]))
    sigmoid = logits.sigmoid()[0]
    negative = -math.log(1 - sigmoid[1]) - math.log(1 - sigmoid[2])
    plain = generalised_bce(logits, targets, 101, 0.0)
    assert plain.item() == pytest.approx(2 * (-math.log(sigmoid[0]) + negative), rel=1e-5)
    whole = generalised_bce(logits, targets, 101, 1.0)
    alpha = 2 / 100
    assert whole.item() == pytest.approx(2 * (-alpha * math.log(sigmoid[0]) + negative), rel=1e-5)


@pytest.fixture(scope="module")
def examples(world):
    return Examples.build(world.log, world.folds[0].test_start, 40, ACTIONS, 10, 0.0)


def module(examples, config):
    torch.manual_seed(5)
    items = len(examples.known)
    return UnifiedTransformer(
        config.model,
        3,
        torch.randn(items, 4),
        torch.from_numpy(examples.known),
        torch.from_numpy(examples.latest),
        repeats=True,
    ).eval()


@pytest.mark.parametrize("loss", ["sampled", "gbce"])
def test_the_more_negatives_the_nearer_a_sampled_loss_is_to_the_whole(examples, tmp_path, loss):
    found = {}
    for negatives in (4, 4_000):
        config = tiny_config(tmp_path, loss=loss, negatives=negatives, empty_share=0.0)
        objective = Objective(examples, config.training)
        batch = Batch.of(examples, plan(examples, 512, 1, 0)[0])
        torch.manual_seed(0)
        found[negatives] = objective(module(examples, config), batch)[0].item()
    if loss == "sampled":
        config = tiny_config(tmp_path, empty_share=0.0)
        whole = Objective(examples, config.training)(module(examples, config), batch)[0].item()
        assert found[4_000] == pytest.approx(whole, rel=1e-3)
        assert found[4] == pytest.approx(whole, rel=0.3)
    assert all(math.isfinite(value) for value in found.values())


def test_a_context_is_asked_again_without_history_with_the_same_targets(examples):
    batch = Batch.of(examples, plan(examples, 512, 1, 0)[0])
    chosen = torch.zeros(len(batch.asked), dtype=torch.bool)
    chosen[[1, 3]] = True
    more = with_empty(batch, chosen)
    added = more.asked[len(batch.asked) :]
    assert more.contexts.position[added].tolist() == [0, 0]
    old = batch.asked[chosen]
    assert torch.equal(more.contexts.now[added], batch.contexts.now[old])
    assert torch.equal(more.slice[-2:], batch.slice[chosen])
    items = [batch.targets.item[batch.targets.context == place].tolist() for place in (1, 3)]
    first = len(batch.asked)
    assert [
        more.targets.item[more.targets.context == first + place].tolist() for place in (0, 1)
    ] == items
    assert (more.targets.context.diff() >= 0).all()
