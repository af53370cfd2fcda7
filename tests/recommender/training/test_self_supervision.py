"""Losses without outcomes: what is changed, what is hidden, and that something is learned of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import ACTIONS, tiny_dataset

from recommender.config import parse
from recommender.config.self_supervision import SelfSupervisionConfig
from recommender.errors import ConfigError
from recommender.model.padded import Padded
from recommender.training.augmentation import changed, hidden, nearest
from recommender.training.batches import Batch, plan
from recommender.training.ground import Here
from recommender.training.objective import Objective
from recommender.training.pretraining import objective_of
from recommender.training.run import train, train_once
from recommender.training.self_supervision import SelfSupervision, _told_apart

ITEMS = 12


def histories(lengths: list[int]) -> tuple[Padded, torch.Tensor]:
    longest = max(lengths)
    inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
    items = torch.arange(longest).repeat(len(lengths), 1) % ITEMS
    times = (1000 * torch.arange(longest)).repeat(len(lengths), 1)
    return Padded(items, inside.long(), times), torch.tensor(lengths)


def view(way: str, lengths: list[int], share: float, seed: int):
    torch.manual_seed(seed)
    padded, lengths_B = histories(lengths)
    config = SelfSupervisionConfig(contrastive=1, augmentations=(way,), share=share)
    other = (torch.arange(ITEMS) + 1) % ITEMS
    return padded, changed(padded, lengths_B, other, config)


any_lengths = st.lists(st.integers(1, 11), min_size=1, max_size=5)
shares = st.floats(0.05, 0.95)


@settings(max_examples=40, deadline=None)
@given(any_lengths, shares, st.integers(0, 99))
def test_a_crop_is_a_stretch_of_the_history(lengths, share, seed):
    _, found = view("crop", lengths, share, seed)
    for row, length in enumerate(lengths):
        left = int(found.lengths[row])
        assert left == length - int(length * share) >= 1
        items = found.histories.items[row, :left]
        assert (items.diff() == 1).all()
        assert items[0] >= 0
        assert items[-1] < length
        assert torch.equal(found.histories.times[row, :left], 1000 * items)
        assert (found.histories.actions[row, :left] == 1).all()


@settings(max_examples=40, deadline=None)
@given(any_lengths, shares, st.integers(0, 99))
def test_another_order_has_the_same_items_and_the_times_stay(lengths, share, seed):
    padded, found = view("reorder", lengths, share, seed)
    assert torch.equal(found.histories.times, padded.times)
    for row, length in enumerate(lengths):
        items = found.histories.items[row, :length]
        assert sorted(items.tolist()) == list(range(length))
        moved = (items != torch.arange(length)).nonzero()[:, 0]
        if len(moved):
            assert moved[-1] - moved[0] < int(length * share)
        assert found.lengths[row] == length


@settings(max_examples=40, deadline=None)
@given(any_lengths, shares, st.integers(0, 99))
def test_hidden_and_replaced_items_are_all_that_differs(lengths, share, seed):
    for way in ("mask", "substitute"):
        padded, found = view(way, lengths, share, seed)
        struck = found.histories.items != padded.items
        told = ITEMS if way == "mask" else (padded.items + 1) % ITEMS
        assert torch.equal(found.histories.items, torch.where(struck, told, padded.items))
        assert not struck[padded.actions == 0].any()
        assert torch.equal(found.lengths, torch.tensor(lengths))


def test_about_the_share_is_hidden():
    torch.manual_seed(0)
    found = hidden(torch.full((400,), 20), 25, 0.3)
    assert found[:, :20].float().mean() == pytest.approx(0.3, abs=0.02)
    assert not found[:, 20:].any()


def test_the_nearest_in_words_is_another_item_and_itself_without_words():
    words = torch.tensor([[1.0, 0], [0, 1], [0.9, 0.1], [0, 0], [0.1, 2]])
    assert nearest(words).tolist() == [2, 4, 0, 3, 1]
    assert nearest(words[:1]).tolist() == [0]
    assert nearest(torch.zeros(3, 2)).tolist() == [0, 1, 2]


def test_telling_apart_is_cross_entropy_both_ways():
    one, other = torch.eye(3), torch.eye(3)[[0, 2, 1]]
    logits = (one @ other.T) / 0.5
    expected = -(logits.log_softmax(1).diag().mean() + logits.T.log_softmax(1).diag().mean()) / 2
    assert _told_apart(3 * one, other, 0.5) == pytest.approx(float(expected))


@pytest.fixture(scope="module")
def world():
    return tiny_dataset()


@pytest.fixture
def start(world, settings):
    config = settings()
    return Here(world, world.folds[0], config).start(world.folds[0].validation_start)


def batch_of(start) -> Batch:
    windows = plan(start.examples, 512, 0, 0)
    return Batch.of(
        start.examples, max(windows, key=lambda w: start.examples.window_length[w].sum())
    )


@pytest.mark.parametrize("what", ["masked", "contrastive", "alignment"])
def test_each_loss_becomes_smaller_by_learning(start, what):
    losses = SelfSupervision(SelfSupervisionConfig(**{what: 1.0}))
    batch, module = batch_of(start), start.module.train()
    steps = torch.optim.Adam(module.parameters(), lr=1e-2)

    def mean() -> float:
        torch.manual_seed(5)
        with torch.no_grad():
            return float(torch.stack([losses(module, batch) for _ in range(10)]).mean())

    before = mean()
    for _ in range(40):
        steps.zero_grad()
        losses(module, batch).backward()
        steps.step()
    assert mean() < 0.8 * before


def test_they_are_added_with_their_weights_and_nothing_is_drawn_without_any(start, world, settings):
    tree = settings().model_dump(mode="json")
    wanted = {"masked": 0.5, "alignment": 2.0}
    config = parse(tree | {"self_supervision": wanted}, "test")
    batch, module = batch_of(start), start.module.eval()
    plain = Objective(start.examples, config.training)
    assert objective_of(start.examples, settings()).beside is None
    both = objective_of(start.examples, config)
    torch.manual_seed(1)
    tasks = plain(module, batch)
    extra = SelfSupervision(config.self_supervision)(module, batch)
    torch.manual_seed(1)
    lost = both(module, batch)
    assert lost.item.item() == tasks.item.item()
    assert lost.total.item() == pytest.approx((tasks.total + extra).item(), rel=1e-6)


def test_batches_without_any_history_cost_nothing(start):
    batch = batch_of(start)
    empty = replace(batch.histories, actions=torch.zeros_like(batch.histories.actions))
    config = SelfSupervisionConfig(masked=1, contrastive=1, alignment=1)
    assert SelfSupervision(config)(start.module, replace(batch, histories=empty)) == 0


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_training_with_all_of_them_is_repeatable_also_when_killed(world, settings, loss):
    tree = settings(epochs=1, loss=loss).model_dump(mode="json")
    wanted = {"masked": 0.1, "contrastive": 0.1, "alignment": 0.1}
    config = parse(tree | {"self_supervision": wanted}, "test")

    def kill(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(world, world.folds[0], config, on_step=kill)
    first = train(world, world.folds[0], config).model.scorer.weights()
    other = tree | {"self_supervision": wanted, "workspace": tree["workspace"] + "-other"}
    second = train(world, world.folds[0], parse(other, "test")).model.scorer.weights()
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name


def test_a_training_on_the_whole_log_learns_of_them_too(world, settings):
    tree = settings(epochs=1).model_dump(mode="json")
    config = parse(tree | {"self_supervision": {"alignment": 1.0}}, "test")
    plain = train_once(world, None, settings(epochs=1), "test").model.scorer.weights()
    aligned = train_once(world, None, config, "test").model.scorer.weights()
    name = "tower.projection_DV"
    assert not np.array_equal(aligned[name], plain[name])


def test_pretraining_comes_first_and_is_not_done_again(world, settings):
    tree = settings(epochs=1, refit=False).model_dump(mode="json")
    wanted = {"masked": 1.0, "alignment": 1.0, "pretraining_epochs": 1}
    config = parse(tree | {"self_supervision": wanted}, "test")
    fold = world.folds[0]
    bare = Here(world, fold, settings(epochs=1, refit=False)).start(fold.validation_start)
    ground = Here(world, fold, config)
    before = {name: value.clone() for name, value in bare.module.state_dict().items()}
    first = ground.start(fold.validation_start)
    assert first.objective.beside is None
    moved = first.module.state_dict()
    assert not torch.equal(moved["tower.projection_DV"], before["tower.projection_DV"])
    # The heads of the tasks have learned nothing yet.
    assert torch.equal(moved["popularity.rest_I"], before["popularity.rest_I"])
    (folder,) = ground.checkpoints.folder.glob("pretraining-*")
    written = sorted(path.name for path in folder.iterdir())
    again = ground.start(fold.validation_start).module.state_dict()
    assert sorted(path.name for path in folder.iterdir()) == written
    assert all(torch.equal(moved[name], again[name]) for name in moved)
    trained = train(world, fold, config)
    assert {epoch.phase for epoch in trained.curve} == {"search"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"contrastive": 1, "augmentations": []}, "at least one of augmentations"),
        ({"augmentations": ["crop", "crop"]}, "names one twice"),
        ({"pretraining_epochs": 1}, "pretraining needs a weight"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings, wrong, told):
    tree = settings().model_dump(mode="json")
    with pytest.raises(ConfigError, match=told):
        parse(tree | {"self_supervision": wrong}, "test")
    assert ACTIONS.types


def test_padding_stands_for_no_item():
    padded, _ = histories([3, 1])
    padded = replace(padded, items=torch.tensor([[3, 4, 5], [4, 0, 0]]))
    module, batch = SimpleNamespace(log_scale=torch.zeros(())), SimpleNamespace(histories=padded)

    class Seen(SelfSupervision):
        def alignment(self, module, rows_N):
            self.rows = rows_N.tolist()
            return torch.zeros(())

    losses = Seen(SelfSupervisionConfig(alignment=1.0))
    losses(module, batch)
    assert losses.rows == [3, 4, 5]
