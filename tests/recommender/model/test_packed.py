"""Histories end to end are read as padded ones are."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_sizes import ACTIONS, DAY_MS, ITEMS, START

from recommender.model.packed import BLOCK, Packing
from recommender.model.padded import Padded


def ragged(lengths: list[int], seed: int = 0) -> Padded:
    random = np.random.default_rng(seed)
    longest = max(lengths)
    inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
    times = START + np.sort(random.integers(0, 30 * DAY_MS, (len(lengths), longest)), axis=1)
    actions = torch.from_numpy(random.integers(1, ACTIONS + 1, inside.shape))
    return Padded(
        torch.from_numpy(random.integers(0, ITEMS, inside.shape)) * inside,
        actions * inside,
        torch.from_numpy(times),
    )


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"time_bias": False},
        {"bias_per_layer": True},
        {"position": "rotary"},
        {"position": "rotary", "time_bias": False},
        {"position": "absolute", "time_bias": False},
    ],
    ids=lambda shape: " ".join(f"{key}={value}" for key, value in shape.items()) or "default",
)
@pytest.mark.parametrize("lengths", [[0, 7, 2], [200, 130, 0, 260, 1]])
def test_packed_states_are_the_padded_ones(module, shape, lengths):
    model, asked = module(**shape, history=300), ragged(lengths)
    with torch.no_grad():
        vectors = model.item_vectors()
        padded = model.states(vectors, asked)
        model.packed = True
        packed = model.states(vectors, asked)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(
            packed[row, : length + 1], padded[row, : length + 1], rtol=1e-3, atol=1e-4
        )


def test_packed_histories_ask_for_the_same_words(scorer, histories):
    made, asked = scorer(text_match=True), histories(5, 0, 8, 2)
    padded = made.scores(asked)
    made.module.packed = True
    np.testing.assert_allclose(made.scores(asked), padded, atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_the_mask_by_blocks_is_the_mask_by_states(lengths):
    longest = max(lengths)
    inside = torch.arange(longest) < torch.tensor(lengths)[:, None]
    packing = Packing.of(inside, torch.zeros(len(lengths), longest, dtype=torch.int64))
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths) + 1)
    real = len(owner)
    owner = torch.nn.functional.pad(owner, (0, len(packing.start_N) - real), value=-1)
    sees = (owner[:, None] == owner) & torch.ones(len(owner), len(owner)).tril().bool()
    blocks = sees.unflatten(1, (-1, BLOCK)).unflatten(0, (-1, BLOCK))
    some, whole = blocks.any(dim=3).any(dim=1), blocks.all(dim=3).all(dim=1)
    mask = packing.mask
    for number, indices, right in (
        (mask.kv_num_blocks, mask.kv_indices, some & ~whole),
        (mask.full_kv_num_blocks, mask.full_kv_indices, whole),
    ):
        found = torch.zeros_like(right)
        for row, count in enumerate(number[0, 0].tolist()):
            found[row, indices[0, 0, row, :count].long()] = True
        assert torch.equal(found, right)


def test_a_row_packed_and_padded_again_is_as_it_was():
    asked = ragged([2, 0, 5])
    packing = Packing.of(asked.actions > 0, asked.times)
    x = torch.randn(3, 6, 4) * packing.inside_BS[:, :, None]
    assert packing.packed(x).shape == (1, 1024, 4)
    assert torch.equal(packing.padded(packing.packed(x)), x)
