"""A sampled loss reads, changes and takes memory for the rows of a batch, not for the catalogue."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import ACTIONS, tiny_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recommender.features.sequences import EventLog
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, plan
from recommender.training.examples import Examples
from recommender.training.objective import Objective
from recommender.training.rows import RowAdamW, clip
from recommender.training.run import forget, train
from recommender.training.state import optimizer_of


class LargestMade(TorchDispatchMode):
    """Notes the most bytes of any tensor that is made, those that share given memory left out."""

    def __init__(self, kept):
        super().__init__()
        self.kept = {tensor.untyped_storage().data_ptr() for tensor in kept}
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            # A sparse gradient names the shape of its table, and holds rows of it.
            if isinstance(each, torch.Tensor) and each.layout == torch.strided:
                storage = each.untyped_storage()
                if storage.data_ptr() not in self.kept:
                    self.bytes = max(self.bytes, storage.nbytes())
        return made


def examples_of(items: int) -> Examples:
    random = np.random.default_rng(3)
    users = 20
    counts = np.full(users, 12)
    # Ids are small numbers, the same ones in every catalogue.
    log = EventLog(
        users=tuple(f"u{row}" for row in range(users)),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        items=random.integers(0, 50, counts.sum()),
        actions=random.integers(2, 4, counts.sum()).astype(np.int8),
        times=np.sort(random.integers(0, 10**9, (users, 12)), axis=1).ravel(),
        values=np.zeros(counts.sum(), np.float32),
    )
    return Examples.build(log, 10**9 + 1, items, ACTIONS, 10, 0.0, slices=1)


def module_of(items: int, examples: Examples, config) -> UnifiedTransformer:
    torch.manual_seed(5)
    return UnifiedTransformer(
        config.model,
        3,
        torch.zeros(items, 1),
        torch.from_numpy(examples.known),
        torch.from_numpy(examples.latest),
        repeats=True,
    )


def step_bytes(items: int, config) -> int:
    examples = examples_of(items)
    examples.known[:] = True
    module = module_of(items, examples, config).train()
    module.sparse_rows(True)
    objective = Objective(examples, config.training)
    optimizer = optimizer_of(module, config.training)
    batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])

    def step():
        optimizer.zero_grad()
        objective(module, batch).total.backward()
        clip(module.parameters(), 1.0)
        optimizer.step()

    step()  # makes the optimiser's moments, which are tables like the weights
    kept = [*module.parameters(), *module.buffers(), *vars(objective).values()]
    kept += [objective.negatives.share_N, objective.negatives._ends_N]
    kept += [value for state in optimizer.state.values() for value in state.values()]
    with LargestMade([each for each in kept if isinstance(each, torch.Tensor)]) as largest:
        step()
    return largest.bytes


def with_head(config, head):
    """The configuration with another ranking head."""
    ranking = config.model.ranking.model_copy(update={"head": head})
    return config.model_copy(update={"model": config.model.model_copy(update={"ranking": ranking})})


@pytest.mark.parametrize(("loss", "head"), [("sampled", "target"), ("gbce", "plain")])
def test_nothing_that_a_step_makes_grows_with_the_catalogue(tmp_path, loss, head):
    config = with_head(tiny_config(tmp_path, loss=loss, negatives=64), head)
    few, many = (step_bytes(items, config) for items in (2_000, 300_000))
    assert many <= 1.5 * few
    assert many < 300_000 * 4


def test_a_step_changes_the_rows_it_read_and_no_others(tmp_path):
    config = tiny_config(tmp_path, loss="sampled", negatives=4, action_weight=0.0)
    examples = examples_of(1_000)
    examples.known[:] = True
    module = module_of(1_000, examples, config).train()
    module.sparse_rows(True)
    optimizer = optimizer_of(module, config.training)
    before = module.tower.id_ID.detach().clone()
    batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])
    Objective(examples, config.training)(module, batch).total.backward()
    read = set(module.tower.id_ID.grad.coalesce().indices()[0].tolist())
    optimizer.step()
    changed = set((module.tower.id_ID != before).any(dim=1).nonzero()[:, 0].tolist())
    assert changed <= read
    assert set(batch.targets.item.tolist()) <= read
    assert len(read) < 100


@pytest.mark.parametrize(("loss", "head"), [("sampled", "target"), ("gbce", "plain")])
def test_rows_alone_have_the_gradients_of_the_whole_tables(tmp_path, loss, head):
    config = with_head(tiny_config(tmp_path, loss=loss, negatives=16), head)
    examples = examples_of(80)
    found = []
    for sparse in (False, True):
        module = module_of(80, examples, config).train()
        module.sparse_rows(sparse)
        torch.manual_seed(1)
        batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])
        lost = Objective(examples, config.training)(module, batch)
        lost.total.backward()
        norm = clip(module.parameters(), 0.1)
        found.append(
            [torch.tensor(norm), lost.total.detach()]
            + [one.grad.to_dense() for one in module.parameters() if one.grad is not None]
        )
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 99),
    decay=st.floats(0, 0.5),
    steps=st.integers(1, 5),
    sparse=st.booleans(),
)
def test_where_every_row_is_read_a_step_is_that_of_adamw(seed, decay, steps, sparse):
    random = torch.Generator().manual_seed(seed)
    start, grads = torch.randn(6, 3, generator=random), torch.randn(steps, 6, 3, generator=random)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    shape = {"lr": 0.1, "betas": (0.9, 0.98), "weight_decay": decay}
    one = RowAdamW([{"params": [ours], "rows": True}], **shape)
    other = torch.optim.AdamW([theirs], **shape)
    for grad in grads:
        ours.grad, theirs.grad = grad.to_sparse(1) if sparse else grad.clone(), grad.clone()
        one.step()
        other.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_whole_gradient_with_zeros_changes_the_rows_that_a_sparse_one_does():
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)
        table = torch.nn.Parameter(torch.randn(5, 2))
        optimizer = RowAdamW([{"params": [table], "rows": True}], lr=0.1, weight_decay=0.3)
        for row in (1, 3, 1):
            grad = torch.zeros(5, 2)
            grad[row] = torch.tensor([0.5, -1.0]) * (row + 1)
            table.grad = grad.to_sparse(1) if sparse else grad
            optimizer.step()
        found.append(table.detach().clone())
    assert torch.equal(*found)


def test_training_by_rows_learns_and_goes_on_from_its_checkpoint_to_the_same_bytes(tmp_path, world):
    class StoppedError(Exception):
        pass

    def stop(step):
        if step == 4:
            raise StoppedError

    config = tiny_config(tmp_path, loss="sampled", negatives=16, refit=False)
    with pytest.raises(StoppedError):
        train(world, world.folds[0], config, on_step=stop)
    resumed = train(world, world.folds[0], config)
    forget(world, world.folds[0], config)
    whole = train(world, world.folds[0], config)
    assert whole.curve[-1].item_loss < whole.curve[0].item_loss
    for name, value in whole.model.scorer.weights().items():
        assert np.array_equal(resumed.model.scorer.weights()[name], value), name
