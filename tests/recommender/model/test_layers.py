"""The parts that are fast in training say what torch's own say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recommender.model.blocks import FeedForward, attended
from recommender.model.layers import Dropout, RMSNorm


def results(function, *leaves):
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    made = function(*leaves)
    (made * torch.linspace(-1, 1, made.numel()).view(made.shape)).sum().backward()
    return [made.detach(), *(leaf.grad for leaf in leaves)]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), rows=st.integers(1, 5), width=st.integers(1, 9))
def test_the_norm_and_its_gradients_are_those_of_torch(seed, rows, width):
    random = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(2, rows, width, generator=random), torch.rand(width, generator=random)
    norm = RMSNorm(width).train()

    def fast(x, weight):
        with torch.no_grad():
            norm.weight.copy_(weight)
        return torch.func.functional_call(norm, {"weight": weight}, (x,))

    found = results(fast, x, weight)
    wanted = results(lambda x, weight: nn.functional.rms_norm(x, (width,), weight), x, weight)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_small_rows_are_normed_in_bfloat16_as_in_float32(training):
    norm = RMSNorm(64).train(training)
    x = 0.01 * torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x.bfloat16()), norm(x), rtol=0.02, atol=0.02)


def test_a_feed_forward_part_says_in_training_what_it_says_after_it():
    torch.manual_seed(0)
    part, x = FeedForward(8, 0.0), torch.randn(3, 5, 8)
    both = []
    for training in (True, False):
        part.train(training)
        part.zero_grad()
        both.append([*results(part, x), *(p.grad.clone() for p in part.parameters())])
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sequences", [1, 3])
def test_attention_in_training_is_that_of_torch(sequences):
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, 6, 4) for _ in range(3))
    bias = torch.randn(sequences, 2, 6, 6).masked_fill(
        torch.ones(6, 6).triu(1).bool(), float("-inf")
    )
    torch.testing.assert_close(
        attended(q, k, v, bias), nn.functional.scaled_dot_product_attention(q, k, v, bias)
    )


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    torch.manual_seed(3)
    drop, x = Dropout(rate).train(), torch.ones(300, 301)
    dropped = drop(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    # Neighbours are dropped independently of each other.
    pairs = (dropped[:, 1:] == 0) & (dropped[:, :-1] == 0)
    assert pairs.float().mean().item() == pytest.approx(rate**2, abs=0.01)
    assert drop.eval()(x) is x
