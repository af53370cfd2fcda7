"""GRU4Rec and its like with an LSTM: the history as the state of a recurrent network.

Hidasi et al. (2016), with the softmax that Hidasi & Karatzoglou (2018) recommend, item vectors
shared by input and output, and whole histories for sessions.

Shape letters: B sequences, S states, I items, D width.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.sequences import Sequences
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold


class GRUModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    cell: ClassVar[type[nn.GRU | nn.LSTM]] = nn.GRU

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        width, layers = config.width, config.layers
        between = config.dropout if layers > 1 else 0.0
        self.recurrent = self.cell(width, width, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(width, width)

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return what is known after the start and after each event, (B, S, D)."""
        # The small vectors of an untrained table would leave the gates where they begin.
        x_BSD = self.embedded(sequences, items_ID) * self.config.width**0.5
        states_BSD, _ = self.recurrent(self.dropout(x_BSD))
        answered_BSD: Tensor = self.out(self.dropout(states_BSD))
        return answered_BSD


class LSTMModule(GRUModule):
    """The network with an LSTM."""

    cell: ClassVar[type[nn.GRU | nn.LSTM]] = nn.LSTM


class GRU4Rec(NextItem):
    """Ranks by a recurrent network of gated units."""

    kind: ClassVar[str] = "gru4rec"
    network: ClassVar[type[NextItemModule]] = GRUModule


class LSTM(NextItem):
    """Ranks by an LSTM."""

    kind: ClassVar[str] = "lstm"
    network: ClassVar[type[NextItemModule]] = LSTMModule


def fit_gru4rec(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train GRU4Rec on what lies before the fold's test window."""
    return GRU4Rec.fit(dataset, fold, config)


def fit_lstm(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the LSTM on what lies before the fold's test window."""
    return LSTM.fit(dataset, fold, config)
