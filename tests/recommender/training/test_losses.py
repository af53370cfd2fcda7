import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.training.losses import Adjustments, Targets, catalogue_cross_entropy


def plain(query, items, base, value, base_of, adjustments, targets):
    logits = query @ items.T + base[base_of]
    added = torch.zeros_like(logits).index_put((adjustments.context, adjustments.item), value)
    logs = torch.log_softmax(logits + added, dim=1)
    return -(targets.weight * logs[targets.context, targets.item]).sum()


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    contexts=st.integers(1, 12),
    items=st.integers(1, 9),
    budget=st.integers(1, 200),
    excluded=st.booleans(),
)
def test_chunked_loss_and_gradients_are_those_of_plain_cross_entropy(
    seed, contexts, items, budget, excluded
):
    random = torch.Generator().manual_seed(seed)
    query, vectors = (
        torch.randn(contexts, 4, generator=random),
        torch.randn(items, 4, generator=random),
    )
    base = torch.randn(3, items, generator=random)
    base_of = torch.randint(3, (contexts,), generator=random)
    # Each cell is a target, an adjusted logit, or neither: excluded items are never targets.
    dice = torch.rand(contexts, items, generator=random)
    context, item = (dice < 0.3).nonzero(as_tuple=True)
    weight = torch.rand(len(item), generator=random) + 0.1
    paired = (
        (dice > 0.7).nonzero(as_tuple=True) if excluded else (dice > 0.2).nonzero(as_tuple=True)
    )
    value = torch.randn(len(paired[0]), generator=random)
    if excluded:
        value = torch.full_like(value, float("-inf"))
        keep = (dice <= 0.7).any(dim=1)[paired[0]]  # something must remain to choose from
        paired, value = (paired[0][keep], paired[1][keep]), value[keep]
    results = []
    for fused in (True, False):
        leaves = [x.clone().requires_grad_() for x in (query, vectors, base, value)]
        targets = Targets(context, item, weight)
        adjustments = Adjustments(*paired, leaves[3])
        if fused:
            loss = catalogue_cross_entropy(*leaves[:3], base_of, adjustments, targets, budget)
        else:
            loss = plain(*leaves, base_of, adjustments, targets)
        (loss * 0.7).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_logits_of_all_contexts_are_never_held_at_once():
    contexts, items, budget = 3_000, 2_000, 2**16
    held = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor):
                held.append(made.numel())
            return made

    everything = torch.arange(contexts)
    with Watch():
        catalogue_cross_entropy(
            torch.randn(contexts, 4, requires_grad=True),
            torch.randn(items, 4),
            torch.zeros(1, items),
            torch.zeros(contexts, dtype=torch.int64),
            Adjustments(everything[:0], everything[:0], torch.zeros(0)),
            Targets(everything, everything % items, torch.ones(contexts)),
            budget,
        ).backward()
    assert max(held) <= budget


def test_a_context_without_targets_gives_no_gradient():
    query = torch.randn(2, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    targets = Targets(torch.tensor([1]), torch.tensor([2]), torch.ones(1))
    catalogue_cross_entropy(
        query,
        torch.randn(3, 4),
        torch.zeros(1, 3),
        torch.zeros(2, dtype=torch.int64),
        Adjustments(none, none, torch.zeros(0)),
        targets,
    ).backward()
    assert not query.grad[0].any()
    assert query.grad[1].any()


def test_the_loss_of_even_odds_is_the_log_of_the_catalogue():
    none = torch.zeros(0, dtype=torch.int64)
    loss = catalogue_cross_entropy(
        torch.zeros(1, 4),
        torch.randn(8, 4),
        torch.zeros(1, 8),
        none.new_zeros(1),
        Adjustments(none, none, torch.zeros(0)),
        Targets(none.new_zeros(1), none.new_zeros(1), torch.ones(1)),
    )
    assert loss.item() == pytest.approx(torch.tensor(8.0).log().item())


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), smoothing=st.floats(0.01, 0.9), budget=st.integers(1, 60))
def test_smoothed_targets_are_those_of_torch_where_nothing_is_taken_out(seed, smoothing, budget):
    random = torch.Generator().manual_seed(seed)
    query, vectors = torch.randn(7, 4, generator=random), torch.randn(9, 4, generator=random)
    base, wanted = torch.randn(1, 9, generator=random), torch.randint(9, (7,), generator=random)
    none, every = torch.zeros(0, dtype=torch.int64), torch.arange(7)
    results = []
    for fused in (True, False):
        leaves = [part.clone().requires_grad_() for part in (query, vectors, base)]
        if fused:
            loss = catalogue_cross_entropy(
                *leaves,
                torch.zeros_like(every),
                Adjustments(none, none, torch.zeros(0)),
                Targets(every, wanted, torch.ones(7)),
                budget,
                smoothing,
            )
        else:
            logits = leaves[0] @ leaves[1].T + leaves[2]
            loss = torch.nn.functional.cross_entropy(
                logits, wanted, reduction="sum", label_smoothing=smoothing
            )
        loss.backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)


def test_items_that_are_taken_out_get_no_part_of_a_smoothed_target():
    query, vectors = torch.randn(1, 4), torch.randn(5, 4, requires_grad=True)
    nought = torch.zeros(1, dtype=torch.int64)
    loss = catalogue_cross_entropy(
        query,
        vectors,
        torch.zeros(1, 5),
        nought,
        Adjustments(nought, nought + 3, torch.tensor([float("-inf")])),
        Targets(nought, nought, torch.ones(1)),
        smoothing=0.2,
    )
    loss.backward()
    kept = torch.tensor([0, 1, 2, 4])
    logits = (query @ vectors.T)[:, kept]
    right = torch.nn.functional.cross_entropy(logits, nought, label_smoothing=0.2)
    torch.testing.assert_close(loss, right)
    assert not vectors.grad[3].any()
