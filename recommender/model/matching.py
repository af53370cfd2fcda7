"""What the words of the history say for items that share them, beside what the body has learned.

An item that nobody has taken has no id part, and what its words are worth the body learns from the
few items whose id part a step drops. That two texts are alike needs no learning: it is the inner
product of their vectors. So the history's text vectors stand beside the query, and an item's own
beside its vector; what is learned is how much that counts.

Shape letters: B sequences, T events in the longest of them, S = T + 1 states, C contexts, N items,
I those of the catalogue, V text components.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recommender.model.blocks import DISTANCES, distance_buckets
from recommender.model.heads import Contexts
from recommender.model.layers import looked_up


class TextMatch(nn.Module):
    """Adds to an item's logit how much its text is like the texts of the history.

    The history stands as the weighted sum of its text vectors, at the length that such a sum has
    on average where the texts have nothing to do with each other: a long history is not louder
    than a short one unless its texts agree. Events weigh by how many lie between them and the
    moment of asking. Items with an id part and those without have a weight of their own each;
    dropped id parts (`model.id_dropout`) train the latter. At first both are nought.

    Args:
        width: V.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.since_1N = nn.Parameter(torch.zeros(1, DISTANCES))
        self.without_id = nn.Parameter(torch.zeros(()))
        self.with_id = nn.Parameter(torch.zeros(()))

    def asked(self, text_IV: Tensor, items_BT: Tensor, contexts: Contexts) -> Tensor:
        """Return what the texts of the histories ask for, (C, V); nought without a history.

        Args:
            text_IV: of the catalogue; columns behind the text's are passed over, here as below.
            items_BT: catalogue rows; padded places lie at or behind every context's position.
            contexts: moments within the histories.
        """
        places_S = torch.arange(items_BT.shape[1] + 1, device=items_BT.device)
        since_ST = places_S[:, None] - 1 - places_S[None, :-1]
        near_ST = distance_buckets(since_ST.clamp(min=0))
        weight_ST = weighted(looked_up(self.since_1N, near_ST)[0], since_ST >= 0)
        asked_BSV = weight_ST @ nn.functional.embedding(items_BT, text_IV[:, : self.width])
        return asked_BSV[contexts.row, contexts.position]

    def columns(self, text_NV: Tensor, keep_N: Tensor) -> Tensor:
        """Return what stands beside the vectors of items, (N, V).

        Args:
            text_NV: of the items.
            keep_N: 1 where an item's id part is there, 0 where not.
        """
        return text_NV[:, : self.width] * self._weights(keep_N)[:, None]

    def forward(self, asked_CV: Tensor, text_NV: Tensor, keep_N: Tensor) -> Tensor:
        """Return what is added to the logits of items, (C, N); arguments as above."""
        return (asked_CV @ text_NV[:, : self.width].T) * self._weights(keep_N)

    def _weights(self, keep_N: Tensor) -> Tensor:
        weight_N = self.without_id + keep_N * (self.with_id - self.without_id)
        return weight_N * float(self.width**-0.5)


def weighted(log_weight_XT: Tensor, inside_XT: Tensor) -> Tensor:
    """Return the weights of events in sums of length 1, (X, T); nought where there are none.

    Args:
        log_weight_XT: of the events.
        inside_XT: which of them count.
    """
    weight_XT = log_weight_XT.exp() * inside_XT.to(log_weight_XT.dtype)
    return weight_XT / weight_XT.square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
