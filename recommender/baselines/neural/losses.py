"""The losses of the neural rivals: a softmax over items, or pairs told apart.

Shape letters: N states and their targets, I items, J candidates of the softmax, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recommender.config.neural_rivals import NeuralRivalsConfig

_LOGITS_AT_ONCE = 2**23


@dataclass(frozen=True)
class Softmax:
    """Cross-entropy of the next item over the items known in training.

    Above `softmax_items` of them, a target competes with items drawn evenly, whose logits are
    corrected for the draw (logQ, Bengio & Senécal 2008).

    Attributes:
        known: catalogue rows, ascending, (J,).
        column: place of each catalogue row in `known`, (I,).
        config: how many are drawn, and when.
    """

    known: Tensor
    column: Tensor
    config: NeuralRivalsConfig

    @classmethod
    def over(cls, known_I: Tensor, config: NeuralRivalsConfig) -> Softmax:
        """Make the loss over the items of a mask, (I,) bool."""
        known = known_I.nonzero()[:, 0]
        column = torch.zeros(len(known_I), dtype=torch.int64)
        column[known] = torch.arange(len(known))
        return cls(known, column, config)

    def __call__(
        self,
        states_ND: Tensor,
        target_N: Tensor,
        weight_N: Tensor,
        items_ID: Tensor,
        bias_I: Tensor,
    ) -> Tensor:
        """Return the weighted mean, nats.

        Args:
            states_ND: the queries.
            target_N: catalogue rows.
            weight_N: of each target.
            items_ID: the item vectors.
            bias_I: what is added to each item's logit.
        """
        if len(self.known) > self.config.softmax_items:
            return self._sampled(states_ND, target_N, weight_N, items_ID, bias_I)
        items_JD, bias_J, column_N = items_ID[self.known], bias_I[self.known], self.column[target_N]
        rows = max(1, _LOGITS_AT_ONCE // len(self.known))
        total = states_ND.new_zeros(())
        for start in range(0, len(target_N), rows):
            part = slice(start, start + rows)
            total = total + checkpoint(
                _cross_entropy,
                states_ND[part],
                items_JD,
                bias_J,
                column_N[part],
                weight_N[part],
                use_reentrant=False,
            )
        return total / weight_N.sum()

    def _sampled(
        self,
        states_ND: Tensor,
        target_N: Tensor,
        weight_N: Tensor,
        items_ID: Tensor,
        bias_I: Tensor,
    ) -> Tensor:
        drawn_J = self.known[torch.randint(len(self.known), (self.config.negatives,))]
        # Each drawn item stands for as many as there are items to one draw.
        share = math.log(len(self.known) / self.config.negatives)
        logits_NJ = torch.addmm(bias_I[drawn_J] + share, states_ND, items_ID[drawn_J].T)
        logits_NJ = logits_NJ.masked_fill(drawn_J == target_N[:, None], float("-inf"))
        own_N = (states_ND * items_ID[target_N]).sum(dim=1) + bias_I[target_N]
        total_N = torch.logaddexp(own_N, logits_NJ.logsumexp(dim=1))
        return ((total_N - own_N) * weight_N).sum() / weight_N.sum()


def _cross_entropy(
    states_ND: Tensor, items_JD: Tensor, bias_J: Tensor, column_N: Tensor, weight_N: Tensor
) -> Tensor:
    logits_NJ = torch.addmm(bias_J, states_ND, items_JD.T)
    each_N = torch.nn.functional.cross_entropy(logits_NJ, column_N, reduction="none")
    return (each_N * weight_N).sum()


def pair_loss(positive_N: Tensor, negative_NJ: Tensor, weight_N: Tensor) -> Tensor:
    """Return the binary cross-entropy of positives and of the negatives drawn for them, nats.

    Args:
        positive_N: logits of what was taken.
        negative_NJ: logits of what was drawn for each.
        weight_N: of each positive, with its negatives.
    """
    own_N = torch.nn.functional.softplus(-positive_N)
    drawn_N = torch.nn.functional.softplus(negative_NJ).sum(dim=1)
    return ((own_N + drawn_N) * weight_N).sum() / weight_N.sum()
