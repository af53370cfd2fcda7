"""What the tasks cost, and what they weigh against each other.

Shape letter: K tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Lost(NamedTuple):
    """What a batch costs.

    Attributes:
        item: mean next-item cross-entropy, nats.
        action: mean next-action cross-entropy, nats.
        value: sum over the values that are foretold of their mean losses; nought without any.
        total: what is made small.
    """

    item: Tensor
    action: Tensor
    value: Tensor
    total: Tensor


def weighed(
    losses: Sequence[Tensor], weights: Sequence[float], log_variance_K: Tensor | None
) -> Tensor:
    """Return the sum of the tasks' losses, K of them, times what they weigh.

    Learned weights: each task's loss counts by the reciprocal of its variance σ², which is learned
    and costs log σ (Kendall, Gal & Cipolla 2018, "Multi-task learning using uncertainty to weigh
    losses", eq. 10; the factor 2 of their squared errors goes into σ).

    Args:
        losses: scalars.
        weights: configured ones; a task of weight nought is left out.
        log_variance_K: log σ² of each task; None: the weights are the configured ones.
    """
    total = losses[0].new_zeros(())
    for task, (loss, weight) in enumerate(zip(losses, weights, strict=True)):
        if not weight:
            continue
        if log_variance_K is not None:
            loss = torch.exp(-log_variance_K[task]) * loss + log_variance_K[task] / 2
        total = total + weight * loss
    return total
