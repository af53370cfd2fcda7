"""The blocks, positions and similarities that a config may choose."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_sizes import ACTIONS, DAY_MS, ITEMS, START
from pydantic import ValidationError

from recommender.config.model import ModelConfig
from recommender.model.blocks import Block, RelativeBias, bias_of_blocks
from recommender.model.hstu import GatedBlock
from recommender.model.padded import Padded
from recommender.model.rotary import Rotary, rotated

SHAPES = [
    {"block": block, "position": position, "bias_per_layer": own, "similarity": similarity}
    for block, position, (own, similarity) in itertools.product(
        ["swiglu", "hstu"],
        ["relative", "rotary", "absolute"],
        [(False, "dot"), (True, "cosine")],
    )
]


def padded(rows: int = 3, events: int = 7) -> Padded:
    random = np.random.default_rng(5)
    times = START + np.sort(random.integers(0, 30 * DAY_MS, (rows, events)), axis=1)
    return Padded(
        torch.from_numpy(random.integers(0, ITEMS, (rows, events))),
        torch.from_numpy(random.integers(1, ACTIONS + 1, (rows, events))),
        torch.from_numpy(times),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: " ".join(map(str, shape.values())))
def test_no_shape_lets_a_state_see_a_later_event(module, shape, training):
    model = module(**shape, time_bias=False, dropout=0.0, id_dropout=0.0).train(training)
    before = padded()
    items = before.items.clone()
    items[:, 4] = (items[:, 4] + 1) % ITEMS
    with torch.no_grad():
        vectors = model.item_vectors()
        old = model.states(vectors, before)
        new = model.states(vectors, Padded(items, before.actions, before.times))
    torch.testing.assert_close(old[:, :5], new[:, :5], rtol=0, atol=1e-6)
    assert (old[:, 5:] - new[:, 5:]).abs().amax(dim=2).min() > 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: " ".join(map(str, shape.values())))
def test_the_order_of_events_counts_in_every_shape(module, shape):
    model = module(**shape, event_time=False, time_bias=False)
    before = padded()
    swapped = Padded(before.items[:, [1, 0, 2]], before.actions[:, [1, 0, 2]], before.times[:, :3])
    with torch.inference_mode():
        vectors = model.item_vectors()
        old = model.states(vectors, before)[:, 3]
        new = model.states(vectors, swapped)[:, 3]
    assert (old - new).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("kind", [Block, GatedBlock])
@pytest.mark.parametrize("turned", [False, True])
def test_reading_some_states_from_keys_and_values_gives_the_whole_block(kind, turned):
    torch.manual_seed(0)
    block, bias = kind(8, 2, 0.0).eval(), RelativeBias(2, time_bias=False)
    torch.nn.init.normal_(bias.place_HN)
    x, rotary = torch.randn(3, 6, 8), Rotary(4)
    whole_turn = rotary(0, 6) if turned else None
    added = bias(torch.zeros(1, 5, dtype=torch.int64))
    whole = block(x, added, whole_turn)
    some = block.read(
        x[:, 4:],
        block.keys_values(x, whole_turn),
        added[:, :, 4:],
        rotary(4, 2) if turned else None,
    )
    torch.testing.assert_close(some, whole[:, 4:], rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(one=st.integers(0, 300), apart=st.integers(0, 300), shift=st.integers(0, 300))
def test_turned_queries_and_keys_know_their_distance_and_nothing_else(one, apart, shift):
    rotary = Rotary(8)
    random = torch.Generator().manual_seed(one)
    query, key = torch.randn(2, 8, generator=random)
    products = [
        rotated(query[None], rotary.at(torch.tensor([place + apart])))
        @ rotated(key[None], rotary.at(torch.tensor([place]))).T
        for place in (one, one + shift)
    ]
    torch.testing.assert_close(*products, rtol=1e-4, atol=1e-3)


def test_a_turned_vector_keeps_its_length_and_place_nought_turns_nothing():
    x, rotary = torch.randn(5, 8), Rotary(8)
    turned = rotated(x, rotary(0, 5))
    torch.testing.assert_close(turned.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(turned[0], x[0])


def test_the_gated_block_is_the_formula_of_the_paper_up_to_the_length():
    torch.manual_seed(1)
    block, states = GatedBlock(4, 1, 0.0), 3
    x = torch.randn(1, states, 4)
    bias = torch.randn(states, states)
    seen = torch.ones(states, states).tril().bool()
    silu = torch.nn.functional.silu
    gate, q, k, v = silu(block.uqkv(torch.nn.functional.rms_norm(x[0], (4,)))).chunk(4, dim=1)
    weights = torch.where(seen, silu(q @ k.T / 2 + bias), 0)
    normed = torch.nn.functional.rms_norm(weights @ v, (4,), eps=torch.finfo().eps)
    wanted = x[0] + block.out(normed * gate)
    found = block(x, bias.masked_fill(~seen, float("-inf"))[None, None])
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in block.parameters())


def test_blocks_share_one_bias_or_have_their_own():
    shared, own = torch.zeros(1, 2, 3, 3), torch.arange(6.0)[None, :, None, None]
    assert all(part is shared for part in bias_of_blocks(shared, 3, 2))
    assert [part.flatten().tolist() for part in bias_of_blocks(own, 3, 2)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_cosines_lie_within_the_learned_scale(module):
    model = module(similarity="cosine")
    vectors = model.item_vectors()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(ITEMS))
    logits = model.scaled(100 * torch.randn(50, 16)) @ vectors.T
    assert logits.abs().max() <= model.log_scale.exp() * (1 + 1e-5)


def test_the_default_shape_has_the_weights_that_older_artifacts_hold(module):
    names = set(module().state_dict())
    assert "bias.place_HN" in names
    assert not any(name.startswith(("rotary", "place_SD")) for name in names)


def test_rotary_positions_need_pairs():
    with pytest.raises(ValidationError, match="must be even"):
        ModelConfig(width=15, heads=3, position="rotary")
