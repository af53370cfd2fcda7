"""Rotary positions (Su et al. 2021, "RoFormer"): places as angles of queries and keys.

Shape letters: B sequences, H heads, Q states, K width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_BASE = 10_000.0


@dataclass(frozen=True)
class Rotation:
    """By which angles each state is turned.

    Attributes:
        cos: (Q, K / 2), or (B, 1, Q, K / 2) where rows differ.
        sin: of the same shape.
    """

    cos: Tensor
    sin: Tensor

    def of(self, state_B: Tensor) -> Rotation:
        """Return the angles of one state per sequence.

        Args:
            state_B: which of the Q.
        """
        return Rotation(self.cos[state_B][:, None, None], self.sin[state_B][:, None, None])


class Rotary(nn.Module):
    """Gives the angles of places; the product of a query and a key then knows their distance.

    Args:
        width: K, even.
    """

    frequency_K: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
        self.register_buffer("frequency_K", _BASE**-exponents, persistent=False)

    def forward(self, first: int, states: int) -> Rotation:
        """Return the angles of consecutive states.

        Args:
            first: the place of the first one.
            states: how many, Q.
        """
        places_Q = torch.arange(first, first + states, device=self.frequency_K.device)
        return self.at(places_Q)

    def at(self, places_Q: Tensor) -> Rotation:
        """Return the angles of places, (Q,) int64."""
        angle_QK = places_Q[:, None].to(torch.float32) * self.frequency_K
        return Rotation(angle_QK.cos(), angle_QK.sin())


def rotated(x_BHQK: Tensor, rotation: Rotation) -> Tensor:
    """Return queries or keys turned: entries k and k + K / 2 are a pair, (B, H, Q, K)."""
    one, other = x_BHQK.chunk(2, dim=-1)
    cos, sin = rotation.cos, rotation.sin
    turned = torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)
    return turned.to(x_BHQK.dtype)
