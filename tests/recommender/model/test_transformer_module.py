"""The module: what may change a state, and what may not."""

import numpy as np
import pytest
import torch
from model_sizes import ACTIONS, DAY_MS, ITEMS, START

from recommender.model.blocks import DISTANCES, RelativeBias, distance_buckets
from recommender.model.heads import Contexts, Pairs
from recommender.model.padded import Padded


def padded(rows: int = 3, events: int = 7, seed: int = 5) -> Padded:
    random = np.random.default_rng(seed)
    times = START + np.sort(random.integers(0, 30 * DAY_MS, (rows, events)), axis=1)
    return Padded(
        torch.from_numpy(random.integers(0, ITEMS, (rows, events))),
        torch.from_numpy(random.integers(1, ACTIONS + 1, (rows, events))),
        torch.from_numpy(times),
    )


@pytest.mark.parametrize("time_bias", [True, False])
@pytest.mark.parametrize("changed", range(7))
def test_changing_an_event_changes_no_earlier_state_and_every_later_one(module, time_bias, changed):
    model = module(time_bias=time_bias)
    before = padded()
    items, actions, times = (x.clone() for x in (before.items, before.actions, before.times))
    items[:, changed] = (items[:, changed] + 1) % ITEMS
    actions[:, changed] = actions[:, changed] % ACTIONS + 1
    times[:, changed:] += 3 * DAY_MS
    with torch.inference_mode():
        vectors = model.item_vectors()
        old = model.states(vectors, before)
        new = model.states(vectors, Padded(items, actions, times))
    assert torch.equal(old[:, : changed + 1], new[:, : changed + 1])
    assert (old[:, changed + 1 :] - new[:, changed + 1 :]).abs().amin(dim=0).amax(
        dim=1
    ).min() > 1e-4


@pytest.mark.parametrize("what", ["items", "actions", "times"])
def test_every_part_of_an_event_counts(module, what):
    model = module()
    before = padded()
    parts = {name: getattr(before, name).clone() for name in ("items", "actions", "times")}
    step = {"items": 1, "actions": 1, "times": 5 * DAY_MS}[what]
    parts[what][:, 2] = parts[what][:, 2] + step
    if what == "items":
        parts[what] %= ITEMS
    if what == "actions":
        parts[what] = (parts[what] - 1) % ACTIONS + 1
    with torch.inference_mode():
        vectors = model.item_vectors()
        old = model.states(vectors, before)[:, -1]
        new = model.states(vectors, Padded(**parts))[:, -1]
    assert (old - new).abs().amax(dim=1).min() > 1e-4


def test_time_bias_gives_attention_the_time_between_events_and_not_only_their_order(module):
    near = padded()
    far = Padded(near.items, near.actions, near.times * 2)
    bias = RelativeBias(2, time_bias=True)
    torch.nn.init.normal_(bias.time_HN)
    assert not torch.equal(bias(near.times), bias(far.times))
    blind = RelativeBias(2, time_bias=False)
    assert torch.equal(blind(near.times), blind(far.times))


@pytest.mark.parametrize("request_time", [True, False])
def test_the_moment_of_asking_counts_only_if_it_is_switched_on(module, request_time):
    model = module(request_time=request_time)
    asked = padded(rows=1)
    vectors, base = model.item_vectors(), model.popularity()
    answers = []
    for days in (1, 40):
        now = asked.times[:, -1] + days * DAY_MS
        contexts = Contexts(torch.tensor([0]), torch.tensor([7]), now)
        with torch.inference_mode():
            answers.append(model.catalogue_logits(vectors, base, asked, contexts))
    assert torch.equal(*answers) != request_time


def test_pairs_are_the_distinct_items_before_each_context_with_last_event_and_count():
    items = torch.tensor([[4, 4, 2, 4, 9], [1, 1, 0, 0, 0]])
    contexts = Contexts(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 3, 5, 2]), torch.zeros(4))
    pairs = Pairs.of(items, contexts)
    found = set(
        zip(
            *(x.tolist() for x in (pairs.context, pairs.item, pairs.event, pairs.count)),
            strict=True,
        )
    )
    assert found == {
        (1, 4, 1, 2),
        (1, 2, 2, 1),
        (2, 2, 2, 1),
        (2, 4, 3, 3),
        (2, 9, 4, 1),
        (3, 1, 1, 2),
    }
    assert pairs.context.tolist() == sorted(pairs.context.tolist())


def test_repeats_change_the_logits_of_history_items_and_of_no_others(module):
    model = module()
    asked = padded(rows=1)
    contexts = Contexts(torch.tensor([0]), torch.tensor([4]), asked.times[:, -1] + DAY_MS)
    vectors, base = model.item_vectors(), model.popularity()
    with torch.inference_mode():
        whole = model.catalogue_logits(vectors, base, asked, contexts)
        model.repeats = None
        without = model.catalogue_logits(vectors, base, asked, contexts)
    changed = set((whole - without).abs()[0].gt(1e-6).nonzero()[:, 0].tolist())
    assert changed == set(asked.items[0, :4].tolist())


def test_an_item_unseen_in_training_has_no_id_part_and_no_learned_popularity(module):
    known = np.ones(ITEMS, bool)
    known[3] = False
    model = module(known=known)
    text_only = model.tower.text_IV @ model.tower.projection_DV.T
    vectors = model.item_vectors()
    assert torch.allclose(vectors[3], text_only[3])
    assert (vectors[4] - text_only[4]).abs().max() > 1e-3
    assert model.popularity()[3] == model.popularity.popularity_IF[3] @ model.popularity.weight_F


def test_id_dropout_leaves_items_with_their_text_alone_in_training_only(module):
    model = module(id_dropout=0.5)
    text_only = model.tower.text_IV @ model.tower.projection_DV.T
    dropped = []
    model.train()
    for seed in range(40):
        torch.manual_seed(seed)
        dropped.append((model.item_vectors() == text_only).all(dim=1))
    share = torch.stack(dropped).float().mean().item()
    assert 0.42 < share < 0.58
    assert not (model.eval().item_vectors() == text_only).all(dim=1).any()


def test_distance_buckets_rise_from_exact_to_coarse_and_stay_in_the_table():
    distances = torch.arange(5_000)
    buckets = distance_buckets(distances)
    assert buckets[:9].tolist() == list(range(9))
    assert (buckets.diff() >= 0).all()
    assert buckets.max() == DISTANCES - 1
