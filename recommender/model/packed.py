"""Histories end to end instead of padded: attention that costs what the events do (FlexAttention).

All states of a batch stand in one row. A mask lets a state see the earlier ones of its own history;
blocks of the row that it hides whole are never computed. The learned biases are worked out inside
the kernel, so no matrix of states × states is held.

On a GPU the kernel is compiled by `torch.compile`; on a CPU torch has its forward pass only.

Shape letters: B histories, T events in the longest of them, S = T + 1 states, N states in the row,
Q blocks of the row, L blocks of the model, H heads, K width of a head, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from recommender.model.blocks import RelativeBias, distance_buckets
from recommender.model.times import duration_buckets

BLOCK = 128
"""States that the mask decides on together: what FlexAttention's kernels are made for."""

_ROUNDED = 8 * BLOCK
"""The row's length is a multiple of it, so that few lengths have kernels compiled for them."""


@dataclass(frozen=True)
class Packing:
    """Where the states of a batch stand in the row.

    Attributes:
        inside_BS: which padded states are real.
        start_N: where the history of each state begins in the row.
        place_N: the place of each state in its history; 0 is the start token.
        time_N: of the event that each state has read last, UTC milliseconds; 0 for start tokens.
        mask: which states see which.
        states: how many are real; behind them the row is filled up.
    """

    inside_BS: Tensor
    start_N: Tensor
    place_N: Tensor
    time_N: Tensor
    mask: BlockMask
    states: int

    @classmethod
    def of(cls, inside_BT: Tensor, times_BT: Tensor) -> Self:
        """Lay histories end to end.

        Args:
            inside_BT: which padded places hold events.
            times_BT: UTC milliseconds.
        """
        inside_BS = nn.functional.pad(inside_BT, (1, 0), value=True)
        times_BS = nn.functional.pad(times_BT, (1, 0))
        rows_N, place_N = inside_BS.nonzero(as_tuple=True)
        states = len(rows_N)
        lengths_B = inside_BS.sum(dim=1)
        start_N = (lengths_B.cumsum(0) - lengths_B)[rows_N]
        fill = -states % _ROUNDED
        # What fills up is a history of its own, behind all others.
        start_N = nn.functional.pad(start_N, (0, fill), value=states)
        filling = torch.arange(fill, device=place_N.device)
        mask = _block_mask(start_N)
        return cls(
            inside_BS,
            start_N,
            torch.cat([place_N, filling]),
            nn.functional.pad(times_BS[inside_BS], (0, fill)),
            mask,
            states,
        )

    def packed(self, x_BSD: Tensor) -> Tensor:
        """Return padded states as the row, (1, N, D)."""
        x_ND = x_BSD[self.inside_BS]
        return nn.functional.pad(x_ND, (0, 0, 0, len(self.start_N) - self.states))[None]

    def padded(self, x_1ND: Tensor) -> Tensor:
        """Return the row as padded states, (B, S, D), zeros where there are none."""
        batch, states = self.inside_BS.shape
        x_BSD = x_1ND.new_zeros(batch, states, x_1ND.shape[2])
        x_BSD[self.inside_BS] = x_1ND[0, : self.states]
        return x_BSD


@dataclass(frozen=True)
class PackedBias:
    """What a block's attention adds to the logits of a packed row, as tables.

    Attributes:
        packing: of the row.
        place_HN: by number of events in between; None: they don't count.
        time_HN: by time in between; None: it does not count.
    """

    packing: Packing
    place_HN: Tensor | None
    time_HN: Tensor | None

    @classmethod
    def of_blocks(cls, packing: Packing, bias: RelativeBias, blocks: int, heads: int) -> list[Self]:
        """Return the bias of each block: the same one, or its own heads of it.

        Args:
            packing: of the row.
            bias: of all blocks.
            blocks: L.
            heads: H.
        """
        own: list[list[Tensor | None]] = []
        for table in (bias.place_HN, bias.time_HN):
            if table is None or len(table) == heads:
                own.append([table] * blocks)
            else:
                own.append(list(torch.split(table, heads)))
        return [cls(packing, place, time) for place, time in zip(*own, strict=True)]

    def attended(self, q_1HNK: Tensor, k_1HNK: Tensor, v_1HNK: Tensor) -> Tensor:
        """Return what attention reads, (1, H, N, K)."""
        packing, place_HN, time_HN = self.packing, self.place_HN, self.time_HN
        place_N, time_N = packing.place_N, packing.time_N

        def biased(score: Tensor, _: Tensor, head: Tensor, asks: Tensor, asked: Tensor) -> Tensor:
            if place_HN is not None:
                near = distance_buckets((place_N[asks] - place_N[asked]).clamp(min=0))
                score = score + place_HN[head, near]
            if time_HN is not None:
                apart = duration_buckets(time_N[asks] - time_N[asked])
                # The start token has no time and is as far from everything as bucket 0 says.
                started = (place_N[asks] == 0) | (place_N[asked] == 0)
                score = score + time_HN[head, torch.where(started, 0, apart)]
            return score

        plain = place_HN is None and time_HN is None
        mixed: Tensor = _kernel(q_1HNK.is_cuda)(
            q_1HNK,
            k_1HNK,
            v_1HNK,
            score_mod=None if plain else biased,
            block_mask=packing.mask,
        )
        return mixed


@cache
def _kernel(compiled: bool) -> Callable[..., Any]:
    kernel: Any = torch.compile(flex_attention) if compiled else flex_attention
    return cast(Callable[..., Any], kernel)


def _block_mask(start_N: Tensor) -> BlockMask:
    """Return the mask of histories that lie end to end, without looking at single states.

    A block of states sees the blocks from where its first history begins up to itself. It sees
    whole those before it that lie in the one history that it belongs to.
    """
    start_QX = start_N.view(-1, BLOCK)
    first_Q, last_Q = start_QX[:, 0], start_QX[:, -1]
    blocks_Q = torch.arange(len(start_QX), device=start_N.device)
    seen_QQ = (blocks_Q >= first_Q[:, None] // BLOCK) & (blocks_Q <= blocks_Q[:, None])
    whole_QQ = (
        seen_QQ
        & (blocks_Q < blocks_Q[:, None])
        & (first_Q == last_Q)[:, None]
        & (blocks_Q * BLOCK >= first_Q[:, None])
    )
    seen_QQ = seen_QQ & ~whole_QQ

    def sees(_: Tensor, __: Tensor, asks: Tensor, asked: Tensor) -> Tensor:
        return (start_N[asks] == start_N[asked]) & (asked <= asks)

    return BlockMask.from_kv_blocks(
        *_listed(seen_QQ), *_listed(whole_QQ), BLOCK_SIZE=BLOCK, mask_mod=sees
    )


def _listed(chosen_QQ: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks each block has chosen, (1, 1, Q), and which first, (1, 1, Q, Q)."""
    order_QQ = torch.argsort(chosen_QQ.to(torch.int32), dim=1, descending=True, stable=True)
    return chosen_QQ.sum(dim=1, dtype=torch.int32)[None, None], order_QQ.to(torch.int32)[None, None]
