"""Two small parts that are several times faster on a CPU than what torch has for them.

Shape letters: X rows of a table, N its columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Drops a share of the entries in training and scales up the others, as `nn.Dropout` does.

    A uniform draw takes less than half the time of torch's Bernoulli draw.

    Args:
        rate: share of the entries.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, in training with entries dropped; any shape."""
        if not self.training or not self.rate:
            return x
        return x * torch.rand_like(x).ge_(self.rate).mul_(1 / (1 - self.rate))


def looked_up(table_XN: Tensor, index: Tensor) -> Tensor:
    """Return `table[:, index]` of a table with few rows, (X, *index.shape).

    The gradient of this gather takes a tenth of the time of that of an embedding whose rows are
    one or two numbers.
    """
    rows = table_XN.shape[0]
    return table_XN.gather(1, index.reshape(1, -1).expand(rows, -1)).view(rows, *index.shape)
