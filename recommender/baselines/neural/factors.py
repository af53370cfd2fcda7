"""What matrix factorisation trains: a vector per user and item, and the pairs they learn from.

Shape letters: U users, I items, N pairs, J drawn items, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from recommender.baselines.neural.items import ItemFacts, ItemVectors
from recommender.baselines.neural.losses import pair_loss
from recommender.features.sequences import EventLog, Ints
from recommender.model.padded import tensor

RIDGE = 0.05
"""What half the square of a vector costs."""


@dataclass(frozen=True)
class Pairs:
    """What users took, each item once.

    Attributes:
        user: rows of the log's users, (N,).
        item: catalogue rows, (N,).
    """

    user: Ints
    item: Ints

    @classmethod
    def of(cls, successes: EventLog, items: int) -> Self:
        """Find the pairs of a log of successes."""
        cells = np.unique(successes.user_of_event * items + successes.items)
        return cls(cells // items, cells % items)

    def batches(self, size: int, random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all pairs in an order drawn at random."""
        order = random.permutation(len(self.user))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield tensor(self.user[rows]), tensor(self.item[rows])


class Factors(nn.Module):
    """The vectors of users and items.

    Args:
        facts: of the items.
        users: U.
        width: D.
        negatives: items drawn for each pair, J.
        ids: whether an item is more than its content.
    """

    def __init__(
        self, facts: ItemFacts, users: int, width: int, negatives: int, *, ids: bool = True
    ) -> None:
        super().__init__()
        self.items = ItemVectors(facts, width)
        if not ids:
            nn.init.zeros_(self.items.id_ID)
            self.items.id_ID.requires_grad = False
        self.user_UD = nn.Parameter(torch.randn(users, width) * width**-0.5)
        self.bias_I = nn.Parameter(torch.zeros(len(facts.known_I)))
        self.known = facts.known_I.nonzero()[:, 0]
        self.negatives = negatives

    def loss(self, pairs: tuple[Tensor, Tensor]) -> Tensor:
        """Return the binary cross-entropy of pairs and drawn items, with the ridge, nats."""
        user_N, item_N = pairs
        items_ID = self.items()
        drawn_NJ = self.known[torch.randint(len(self.known), (len(user_N), self.negatives))]
        both_NJ = torch.cat([item_N[:, None], drawn_NJ], dim=1)
        user_ND, both_NJD = self.user_UD[user_N], items_ID[both_NJ]
        logits_NJ = (both_NJD @ user_ND[:, :, None])[..., 0] + self.bias_I[both_NJ]
        ridge = user_ND.square().sum(dim=1) + both_NJD[:, 0].square().sum(dim=1)
        told = pair_loss(logits_NJ[:, 0], logits_NJ[:, 1:], torch.ones(len(user_N)))
        whole: Tensor = told + RIDGE / 2 * ridge.mean()
        return whole
