"""The feed-forward "big model": one network over everything known of a person and of an item.

It judges pairs: person and item side by side, and their product. It learns to tell what was taken
from items drawn evenly. Every item needs a pass of its own, so it is the slowest to ask.

Shape letters: B histories, S states, I items, D width, H hidden units, N targets, J drawn items.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.losses import pair_loss
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.person import PersonTower, running_means
from recommender.baselines.neural.sequences import Learned, Moments, Sequences
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_PERSON = (256,)
_PAIR = (128, 64)
_NUMBERS = 2**24


class FeedForwardModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    content: ClassVar[bool] = True
    personal: ClassVar[bool] = True

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        width = config.width
        self.person = PersonTower(width, _PERSON, config.dropout)
        # The first layer over [person, item, product] by parts: those of one alone are needed once.
        self.of_person = nn.Linear(width, _PAIR[0])
        self.of_item = nn.Linear(width, _PAIR[0], bias=False)
        self.of_both = nn.Linear(width, _PAIR[0], bias=False)
        self.rest = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(*_PAIR),
            nn.ReLU(),
            nn.Linear(_PAIR[1], 1),
        )

    def without_clock(self) -> None:
        """Read the moment of asking no more."""
        super().without_clock()
        self.person.without_clock()

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return the mean and the last of what was read, (B, S, 2D)."""
        return running_means(self.embedded(sequences, items_ID), sequences)

    def queries(self, states_ND: Tensor, moments: Moments) -> Tensor:
        """Return the person's vector, (N, D)."""
        person_ND: Tensor = self.person(states_ND, moments)
        return person_ND

    def judged(self, person_BD: Tensor, items_BJD: Tensor, bias_BJ: Tensor) -> Tensor:
        """Return the logits of items for a person each, (B, J)."""
        hidden_BJH = (
            self.of_both(person_BD[:, None] * items_BJD)
            + self.of_item(items_BJD)
            + self.of_person(person_BD)[:, None]
        )
        logits_BJ: Tensor = self.rest(hidden_BJH)[..., 0] + bias_BJ
        return logits_BJ

    def logits(self, queries_BD: Tensor, items_ID: Tensor) -> Tensor:
        """Return the logits of the catalogue, (B, I)."""
        step = max(1, _NUMBERS // (len(items_ID) * (2 * sum(_PAIR) + items_ID.shape[1])))
        parts = []
        for start in range(0, len(queries_BD), step):
            some_BD = queries_BD[start : start + step]
            every_BID = items_ID[None].expand(len(some_BD), -1, -1)
            parts.append(self.judged(some_BD, every_BID, self.bias_I[None]))
        return torch.cat(parts) if parts else queries_BD.new_zeros(0, len(items_ID))

    def loss(self, batch: Learned) -> Tensor:
        """Return the binary cross-entropy of targets and of drawn items, nats."""
        items_ID = self.table()
        person_ND = self.asked(batch, items_ID)
        known_J = self.softmax.known
        shape = (len(batch.target), self.config.pair_negatives)
        drawn_NJ = known_J[torch.randint(len(known_J), shape)]
        both_NJ = torch.cat([batch.target[:, None], drawn_NJ], dim=1)
        logits_NJ = self.judged(person_ND, items_ID[both_NJ], self.bias_I[both_NJ])
        return pair_loss(logits_NJ[:, 0], logits_NJ[:, 1:], batch.weight)


class FeedForward(NextItem):
    """Ranks by the feed-forward model."""

    kind: ClassVar[str] = "feed-forward"
    network: ClassVar[type[NextItemModule]] = FeedForwardModule


def fit_feed_forward(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the feed-forward model on what lies before the fold's test window."""
    return FeedForward.fit(dataset, fold, config)
