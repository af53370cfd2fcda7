"""YouTubeDNN as two towers: a person by the mean of the history, an item by id and content.

Covington, Adams & Sargin (2016): a deep network over the mean of what was watched, the last of it,
the moment and what is known of the person, trained by a softmax over items (sampled, and corrected
for it, where they are many). The item's side is a tower over its id and content, as in their
successors (Yi et al. 2019). The age of examples is left out.

Shape letters: B sequences, S states, I items, D width, N states asked about.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.person import PersonTower, running_means
from recommender.baselines.neural.sequences import Moments, Sequences
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_HIDDEN = (256, 128)


class TwoTowerModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    content: ClassVar[bool] = True
    personal: ClassVar[bool] = True

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        width = config.width
        self.person = PersonTower(width, _HIDDEN, config.dropout)
        self.item = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def table(self) -> Tensor:
        """Return the items as their tower has them, (I, D)."""
        items_ID = self.items()
        towered_ID: Tensor = items_ID + self.item(items_ID)
        return towered_ID

    def without_clock(self) -> None:
        """Read the moment of asking no more."""
        super().without_clock()
        self.person.without_clock()

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return the mean and the last of what was read, (B, S, 2D)."""
        return running_means(self.embedded(sequences, items_ID), sequences)

    def queries(self, states_ND: Tensor, moments: Moments) -> Tensor:
        """Return the person's tower, (N, D)."""
        query_ND: Tensor = self.person(states_ND, moments)
        return query_ND


class TwoTower(NextItem):
    """Ranks by two towers."""

    kind: ClassVar[str] = "two-tower"
    network: ClassVar[type[NextItemModule]] = TwoTowerModule


def fit_two_tower(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the two towers on what lies before the fold's test window."""
    return TwoTower.fit(dataset, fold, config)
