"""Losses over a set of items that stands for the catalogue."""

import math

import pytest
import torch
from tiny_world import ACTIONS, tiny_config

from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, plan, with_empty
from recommender.training.examples import Examples
from recommender.training.generalised_bce import generalised_bce
from recommender.training.losses import Adjustments, Targets
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


NOBODY = Adjustments(
    torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0)
)


def binary(logits_CS, targets, inside_S, catalogue, calibration, **further):
    """The binary loss of logits that come of the rows that contexts share alone."""
    contexts, size = logits_CS.shape
    nothing, rows = torch.zeros(contexts, 1), torch.arange(contexts)
    return generalised_bce(
        nothing,
        torch.zeros(size, 1),
        logits_CS,
        rows,
        further.pop("adjustments", NOBODY),
        targets,
        inside_S,
        catalogue,
        calibration,
        **further,
    )


def test_the_binary_loss_by_hand_and_without_calibration_is_plain():
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    targets = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([2.0]))
    sigmoid, alpha = logits.sigmoid()[0], 2 / 100
    negative = -math.log(1 - sigmoid[1]) - math.log(1 - sigmoid[2])
    evenly = torch.full((3,), alpha).log()
    plain = binary(logits, targets, evenly, 101, 0.0)
    assert plain.item() == pytest.approx(2 * (-math.log(sigmoid[0]) + negative), rel=1e-5)
    whole = binary(logits, targets, evenly, 101, 1.0)
    assert whole.item() == pytest.approx(2 * (-alpha * math.log(sigmoid[0]) + negative), rel=1e-5)
    # An item that is in the set ten times as often as an even draw counts a tenth.
    often = torch.tensor([alpha, 10 * alpha, alpha]).log()
    rarer = binary(logits, targets, often, 101, 0.0)
    negative += 0.9 * math.log(1 - sigmoid[1])
    assert rarer.item() == pytest.approx(2 * (-math.log(sigmoid[0]) + negative), rel=1e-5)


def test_the_binary_loss_is_least_where_the_logits_tell_the_true_probabilities():
    """Popular items are in the set more often than others, and are told neither more nor less."""
    torch.manual_seed(3)
    share = 1 / torch.arange(1, 41).double()
    share /= share.sum()
    negatives = Negatives((share * 1e6).long(), 12, 0.5)
    truth = torch.logit(share).float().requires_grad_()
    rounds, batch, slope, force = 800, 16, torch.zeros(40), torch.zeros(40)
    for _ in range(rounds):
        wanted = torch.multinomial(share, batch, replacement=True)
        columns, inside = negatives.draw(wanted)
        targets = Targets(
            torch.arange(batch), torch.searchsorted(columns, wanted), torch.ones(batch)
        )
        logits = truth[columns].expand(batch, -1)
        loss = binary(logits, targets, inside, 40, 1.0)
        (gradient,) = torch.autograd.grad(loss / batch, truth)
        alpha = (len(columns) - 1) / 39
        slope += gradient / alpha
        force += torch.bincount(wanted, minlength=40) / batch * (1 - share.float())
    # The pull of the targets alone, per round, against what is left when the negatives push back.
    assert (slope.abs() / rounds < 0.15 * force / rounds + 0.003).all()


def test_a_chunk_after_the_other_gives_the_binary_loss_and_gradients_of_all_at_once():
    torch.manual_seed(4)
    query, items = torch.randn(7, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)
    base, value = torch.randn(2, 9, requires_grad=True), torch.tensor([-math.inf, 0.5, -0.25])
    value.requires_grad_()
    adjustments = Adjustments(torch.tensor([0, 3, 6]), torch.tensor([1, 2, 8]), value)
    targets = Targets(
        torch.tensor([0, 0, 2, 3, 6]), torch.tensor([0, 4, 1, 2, 3]), torch.rand(5) + 0.5
    )
    rows, inside = torch.tensor([0, 1, 1, 0, 1, 0, 0]), torch.rand(9).log()
    found = []
    for budget in (9, 20, 10_000):
        loss = generalised_bce(
            query, items, base, rows, adjustments, targets, inside, 30, 0.75, budget
        )
        found.append([loss, *torch.autograd.grad(loss, (query, items, base, value))])
    for part in found[:-1]:
        for one, other in zip(part, found[-1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


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


def test_words_of_the_history_count_alike_in_the_whole_and_in_the_sampled_softmax(
    examples, tmp_path
):
    found = []
    for loss in ("full", "sampled"):
        config = tiny_config(tmp_path, loss=loss, negatives=4_000, empty_share=0.0)
        matched = config.model.model_copy(update={"text_match": True})
        made = module(examples, config.model_copy(update={"model": matched}))
        with torch.no_grad():
            made.match.with_id.fill_(1.5)
        torch.manual_seed(0)
        batch = Batch.of(examples, plan(examples, 512, 1, 0)[0])
        item_loss = Objective(examples, config.training)(made, batch)[0]
        item_loss.backward()
        found.append((item_loss.item(), made.match.with_id.grad.item()))
    assert found[1] == pytest.approx(found[0], rel=1e-2)
    assert found[0][1] != 0


def test_dropped_id_parts_train_the_weight_of_items_without_one(examples, tmp_path):
    config = tiny_config(tmp_path)
    matched = config.model.model_copy(update={"text_match": True, "id_dropout": 0.5})
    made = module(examples, config.model_copy(update={"model": matched})).train()
    torch.manual_seed(0)
    batch = Batch.of(examples, plan(examples, 512, 1, 0)[0])
    Objective(examples, config.training)(made, batch)[0].backward()
    assert made.match.without_id.grad.abs() > 1e-4
    assert made.match.with_id.grad.abs() > 1e-4


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
