"""Where training computes: nothing is made beside the batch, and figures say what they say."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import ACTIONS, tiny_config

from recommender.errors import TrainingError
from recommender.model.moving import moved
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, plan
from recommender.training.device import Machine, device_of, matmul_peak, packs, rounded
from recommender.training.examples import Examples
from recommender.training.objective import Objective
from recommender.training.rows import clip
from recommender.training.run import train
from recommender.training.state import optimizer_of
from recommender.training.work import model_flops

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(world):
    return Examples.build(world.log, world.folds[0].test_start, 40, ACTIONS, 10, 0.0)


def module_of(examples, config):
    torch.manual_seed(5)
    return UnifiedTransformer(
        config.model,
        3,
        torch.randn(len(examples.known), 4),
        torch.from_numpy(examples.known),
        torch.from_numpy(examples.latest),
        repeats=True,
    ).train()


@pytest.mark.parametrize("loss", ["full", "sampled", "gbce"])
@pytest.mark.parametrize("block", ["swiglu", "hstu"])
def test_a_step_makes_every_tensor_where_the_batch_is(examples, tmp_path, loss, block):
    """What is made without saying where lands on `meta`, which nothing here can be mixed with."""
    config = tiny_config(tmp_path, loss=loss, negatives=8)
    model = config.model.model_copy(update={"block": block, "position": "rotary"})
    module = module_of(examples, config.model_copy(update={"model": model}))
    module.sparse_rows(loss != "full")
    objective = Objective(examples, config.training).to(CPU)
    optimizer = optimizer_of(module, config.training)
    batch = moved(Batch.of(examples, plan(examples, 256, 0, 0)[0]), CPU)
    with torch.device("meta"):
        lost = objective(module, batch)
        lost.total.backward()
        norm = clip(module.parameters(), 1.0)
        optimizer.step()
    assert math.isfinite(lost.total.item())
    assert norm > 0


def test_products_in_bfloat16_give_about_the_same_loss_and_weights_stay_whole(examples, tmp_path):
    config = tiny_config(tmp_path, empty_share=0.0)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dropout": 0.0})})
    batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])
    found = []
    for name in ("float32", "bf16"):
        module = module_of(examples, config)
        torch.manual_seed(1)
        with rounded(name, CPU):
            lost = Objective(examples, config.training)(module, batch)
        lost.total.backward()
        assert all(p.grad is None or p.grad.dtype == torch.float32 for p in module.parameters())
        found.append((lost.total.item(), module.blocks[0].qkv.weight.grad.clone()))
    assert found[0][0] != found[1][0]
    assert found[1][0] == pytest.approx(found[0][0], rel=0.02)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0.1, atol=5e-3)


def test_the_flops_of_a_batch_are_those_counted_by_hand(examples, tmp_path):
    config = tiny_config(tmp_path)
    module = module_of(examples, config)
    batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])
    lengths = [(row > 0).sum().item() + 1 for row in batch.histories.actions]
    width, contexts = 16, len(batch.contexts)
    forward = 0.0
    for states in lengths:
        # qkv 3 D², out D², up 4 D², down 2 D²
        forward += 2 * 10 * width**2 * states
        forward += sum(4 * width * seen for seen in range(1, states + 1))
    forward += 2 * 6 * width**2 * contexts
    forward += 2 * width * 30 * len(batch.asked) + 2 * width * 4 * 30
    assert model_flops(module, batch, 30) == pytest.approx(3 * forward)


def test_padding_is_no_work(examples, tmp_path):
    module = module_of(examples, tiny_config(tmp_path))
    batch = Batch.of(examples, plan(examples, 256, 0, 0)[0])
    histories = batch.histories
    names = ("items", "actions", "times")
    wider = {name: torch.nn.functional.pad(getattr(histories, name), (0, 5)) for name in names}
    padded = replace(batch, histories=replace(histories, **wider))
    assert model_flops(module, padded, 30) == model_flops(module, batch, 30)


def test_the_share_of_the_machine_that_is_used_is_work_by_time_by_its_products():
    machine = Machine(CPU, "float32", 1, 100, 2)
    peak = matmul_peak(CPU, "float32", 1)
    assert peak > 1e8
    assert machine.utilisation(peak, 4.0) == pytest.approx(1 / 8)
    assert machine.utilisation(1.0, 0.0) is None


def test_every_epoch_says_its_work_its_share_of_the_machine_and_its_memory(world, tmp_path):
    trained = train(world, world.folds[0], tiny_config(tmp_path))
    for epoch in trained.curve:
        assert epoch.flops > 0
        assert 0 < epoch.utilisation < 1
        assert epoch.memory_mb > 10


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said_so(tmp_path):
    settings = tiny_config(tmp_path).training
    assert device_of(settings) == CPU
    with pytest.raises(TrainingError, match="no GPU"):
        device_of(settings.model_copy(update={"device": "cuda"}))


def test_packed_histories_are_refused_where_they_cannot_be_learned_from(examples, tmp_path):
    config = tiny_config(tmp_path)
    module = module_of(examples, config)
    assert not packs(config.training, module, CPU)
    assert packs(config.training, module, torch.device("cuda"))
    wanted = config.training.model_copy(update={"packed": "on"})
    with pytest.raises(TrainingError, match=r"training\.packed"):
        packs(wanted, module, CPU)
    never = config.training.model_copy(update={"packed": "off"})
    assert not packs(never, module, torch.device("cuda"))


@pytest.mark.slow
def test_compiled_blocks_train_like_plain_ones(world, tmp_path):
    losses = []
    for compiled in (False, True):
        config = tiny_config(
            tmp_path / str(compiled), compile=compiled, epochs=1, refit=False, windows="latest"
        )
        losses.append([epoch.item_loss for epoch in train(world, world.folds[0], config).curve])
    np.testing.assert_allclose(*losses, rtol=1e-3)
