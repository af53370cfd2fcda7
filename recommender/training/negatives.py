"""Which items stand for the whole catalogue in a sampled loss, and how likely each was to do so.

One set serves a whole batch: its own targets, items drawn evenly, and items drawn as often as they
are targets. An even draw alone lets popular items win by default; the batch's targets alone punish
them, and never show the others (Yi et al. 2019, "Sampling-bias-corrected neural modeling").

Shape letters: N known items, S items of the set.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Negatives:
    """Draws sets of items.

    Args:
        counts_N: how often each known item is a target.
        size: draws per set, beside the targets.
        popular_share: share of them that is drawn by `counts_N`; the others are drawn evenly.
    """

    def __init__(self, counts_N: Tensor, size: int, popular_share: float) -> None:
        self.popular = round(size * popular_share)
        self.even = size - self.popular
        self.share_N = (counts_N / counts_N.sum()).to(torch.float64)
        self._ends_N = self.share_N.cumsum(0)

    def draw(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return a set and the log of how likely each of its items was to be in one.

        P(in) = 1 - (1 - 1 / N)^even (1 - share)^(popular + targets): the targets of a batch count
        as so many draws by popularity.

        Args:
            targets: of the batch, with repetitions.

        Returns:
            columns, ascending and distinct, (S,) int64, and log P(in), (S,).
        """
        items, device = len(self.share_N), self.share_N.device
        even = torch.randint(items, (self.even,), device=device)
        dice = torch.rand(self.popular, dtype=torch.float64, device=device) * self._ends_N[-1]
        popular = torch.searchsorted(self._ends_N, dice).clamp(max=items - 1)
        columns_S = torch.unique(torch.cat([targets, even, popular]))
        never = self.even * math.log1p(-1 / items) if items > 1 else -math.inf
        by_share_S = torch.log1p(-self.share_N[columns_S].clamp(max=1 - 1e-12))
        never_S = never + (self.popular + len(targets)) * by_share_S
        inside_S = (-torch.expm1(never_S)).clamp(min=1e-12)
        return columns_S, inside_S.log().to(torch.float32)
