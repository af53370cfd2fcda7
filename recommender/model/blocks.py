"""The body: pre-norm causal blocks whose attention sees how far apart two events are.

Shape letters: B sequences, S states, D width, H heads, K width of a head (D / H), F width of the
feed-forward part, Q states that ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from recommender.model.layers import Dropout, RMSNorm, gated, looked_up
from recommender.model.rotary import Rotation, rotated
from recommender.model.times import BUCKETS, duration_buckets

DISTANCES = 32

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one block, each (B, H, S, K)."""


def distance_buckets(distances: Tensor) -> Tensor:
    """Return a bucket per number of events in between: exact up to 8, then quarter octaves."""
    far = 8 + 4 * torch.log2(distances.clamp(min=8).to(torch.float32) / 8)
    return torch.where(distances < 8, distances, far.long()).clamp(max=DISTANCES - 1)


class RelativeBias(nn.Module):
    """What attention adds to its logits for the distance of two events, in time and in places.

    Learned per head, by bucket (Raffel et al. 2020, "Exploring the limits of transfer learning",
    §2.1, for places; the same idea for time as in Zhai et al. 2024, "Actions speak louder than
    words", §3.2).

    Args:
        heads: H; those of all blocks together where each has a bias of its own.
        time_bias: whether time counts.
        place_bias: whether places count.
    """

    def __init__(self, heads: int, *, time_bias: bool, place_bias: bool = True) -> None:
        super().__init__()
        self.place_HN = nn.Parameter(torch.zeros(heads, DISTANCES)) if place_bias else None
        self.time_HN = nn.Parameter(torch.zeros(heads, BUCKETS)) if time_bias else None

    def forward(self, times_BT: Tensor) -> Tensor:
        """Return the bias, -inf where a state would see a later one, (B or 1, H or 1, S, S).

        Args:
            times_BT: of the events, UTC milliseconds; state 0 is the start token, which has no
                time and is as far from everything as bucket 0 says.
        """
        states = times_BT.shape[1] + 1
        places_S = torch.arange(states, device=times_BT.device)
        distances_SS = places_S[:, None] - places_S[None, :]
        bias_HBSS = torch.zeros((1, 1, states, states), device=times_BT.device)
        if self.place_HN is not None:
            near_SS = distance_buckets(distances_SS.clamp(min=0))
            bias_HBSS = looked_up(self.place_HN, near_SS[None])
        if self.time_HN is not None:
            apart_BTT = duration_buckets(times_BT[:, :, None] - times_BT[:, None, :])
            bias_HBSS = bias_HBSS + looked_up(
                self.time_HN, nn.functional.pad(apart_BTT, (1, 0, 1, 0))
            )
        return bias_HBSS.transpose(0, 1).masked_fill(distances_SS < 0, float("-inf"))


class Attending(Protocol):
    """Another way to attend, which knows what is added to the logits and who sees whom."""

    def attended(self, q_1HNK: Tensor, k_1HNK: Tensor, v_1HNK: Tensor) -> Tensor:
        """Return what attention reads, of the shape of the queries."""


def bias_of_blocks(bias_BXQS: Tensor, blocks: int, heads: int) -> Sequence[Tensor]:
    """Return the bias of each block: the same one, or its own heads of it.

    Args:
        bias_BXQS: X is 1, H, or the heads of all blocks together.
        blocks: how many.
        heads: H.
    """
    if blocks > 1 and bias_BXQS.shape[1] == blocks * heads:
        return bias_BXQS.chunk(blocks, dim=1)
    return [bias_BXQS] * blocks


class Block(nn.Module):
    """Causal self-attention and a gated feed-forward part, each behind a norm.

    RMSNorm: Zhang & Sennrich 2019; SwiGLU: Shazeer 2020, "GLU variants improve Transformer".

    Args:
        width: D.
        heads: H.
        dropout: on what each part adds to the stream.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.drop = Dropout(dropout)
        self.attention_norm = RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed = FeedForward(width, dropout)

    def forward(
        self, x_BSD: Tensor, bias: Tensor | Attending, rotation: Rotation | None = None
    ) -> Tensor:
        """Return the stream after this block, (B, S, D).

        Args:
            x_BSD: the stream before it.
            bias: added to attention's logits, (B or 1, H or 1, S, S); or how to attend.
            rotation: of queries and keys by their places, if they are turned.
        """
        batch, states, width = x_BSD.shape
        qkv_BS3HK = self.qkv(self.attention_norm(x_BSD)).view(batch, states, 3, self.heads, -1)
        q_BHSK, k_BHSK, v_BHSK = qkv_BS3HK.permute(2, 0, 3, 1, 4)
        if rotation is not None:
            q_BHSK, k_BHSK = rotated(q_BHSK, rotation), rotated(k_BHSK, rotation)
        if not isinstance(bias, Tensor):
            mixed_BHSK = bias.attended(q_BHSK, k_BHSK, v_BHSK)
        elif self.training and not x_BSD.is_cuda:
            mixed_BHSK = attended(q_BHSK, k_BHSK, v_BHSK, bias)
        else:
            mixed_BHSK = nn.functional.scaled_dot_product_attention(
                q_BHSK, k_BHSK, v_BHSK, bias.to(q_BHSK.dtype)
            )
        mixed_BSD = mixed_BHSK.transpose(1, 2).reshape(batch, states, width)
        x_BSD = x_BSD + self.drop(self.out(mixed_BSD))
        fed_BSD: Tensor = self.feed(x_BSD)
        return fed_BSD

    def keys_values(self, x_BSD: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """Return what later states read of these ones; it does not change when events are added.

        Args:
            x_BSD: the stream before this block.
            rotation: as in `forward`.
        """
        batch, states, width = x_BSD.shape
        both = nn.functional.linear(self.attention_norm(x_BSD), self.qkv.weight[width:])
        shaped = both.view(batch, states, 2, self.heads, width // self.heads)
        k_BHSK, v_BHSK = shaped[:, :, 0].transpose(1, 2), shaped[:, :, 1].transpose(1, 2)
        return (k_BHSK if rotation is None else rotated(k_BHSK, rotation)), v_BHSK

    def read(
        self,
        x_BQD: Tensor,
        keys_values: KeysValues,
        bias_BHQS: Tensor,
        rotation: Rotation | None = None,
    ) -> Tensor:
        """Return the stream of some states after this block, (B, Q, D).

        Args:
            x_BQD: the stream of Q states before it.
            keys_values: of all S states.
            bias_BHQS: as in `forward`.
            rotation: of the Q states.
        """
        batch, states, width = x_BQD.shape
        query_BQD = nn.functional.linear(self.attention_norm(x_BQD), self.qkv.weight[:width])
        query_BHQK = query_BQD.view(batch, states, self.heads, -1).transpose(1, 2)
        if rotation is not None:
            query_BHQK = rotated(query_BHQK, rotation)
        mixed_BHQK = _mixed(query_BHQK, *keys_values, bias_BHQS)
        mixed_BQD = mixed_BHQK.transpose(1, 2).reshape(batch, states, width)
        x_BQD = x_BQD + self.out(mixed_BQD)
        fed_BQD: Tensor = self.feed(x_BQD)
        return fed_BQD


def _mixed(query_BHQK: Tensor, keys_BHSK: Tensor, values_BHSK: Tensor, bias_BHQS: Tensor) -> Tensor:
    if not torch.compiler.is_exporting():
        return nn.functional.scaled_dot_product_attention(
            query_BHQK, keys_BHSK, values_BHSK, bias_BHQS
        )
    # Spelled out: a fused one is traced with the memory layout of this machine's kernel.
    scaled_BHQK = query_BHQK * query_BHQK.shape[-1] ** -0.5
    weight_BHQS = (scaled_BHQK @ keys_BHSK.transpose(2, 3) + bias_BHQS).softmax(dim=-1)
    mixed_BHQK: Tensor = weight_BHQS @ values_BHSK
    return mixed_BHQK


def attended(q_BHSK: Tensor, k_BHSK: Tensor, v_BHSK: Tensor, bias_BHSS: Tensor) -> Tensor:
    """Return what attention with a learned bias reads, (B, H, S, K).

    On a CPU these three products take half the time of torch's fused attention, forward and
    backward, while the logits of a batch fit the cache.

    Args:
        q_BHSK: who asks.
        k_BHSK: who is asked.
        v_BHSK: what is read.
        bias_BHSS: added to the logits; B may be 1.
    """
    batch, heads, states, width = q_BHSK.shape
    q, k, v = (x.reshape(batch * heads, states, width) for x in (q_BHSK, k_BHSK, v_BHSK))
    bias = bias_BHSS.expand(batch, heads, states, states).reshape(-1, states, states)
    logits = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=width**-0.5)
    return torch.bmm(logits.softmax(dim=-1), v).view(q_BHSK.shape)


class FeedForward(nn.Module):
    """A residual SwiGLU behind a norm.

    Args:
        width: D; the hidden width F is 2 D.
        dropout: on what is added to the stream.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.drop = Dropout(dropout)
        self.norm = RMSNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x_XD: Tensor) -> Tensor:
        """Return the stream after this part; any leading shape."""
        normed_XD = self.norm(x_XD)
        if self.training and not x_XD.is_cuda:
            # Two products leave two whole tensors; the halves of one are strided, and slow.
            gate_FD, value_FD = self.up.weight.chunk(2)
            linear = nn.functional.linear
            hidden_XF = gated(linear(normed_XD, gate_FD), linear(normed_XD, value_FD))
        else:
            gate_XF, value_XF = self.up(normed_XD).chunk(2, dim=-1)
            hidden_XF = nn.functional.silu(gate_XF) * value_XF
        added_XD = self.down(hidden_XF)
        fed_XD: Tensor = x_XD + self.drop(added_XD)
        return fed_XD
