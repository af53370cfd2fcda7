"""BERT4Rec: a Transformer that reads both ways and fills in masked items (Sun et al. 2019).

A share of the events is masked in training; some sequences have their last event masked alone, as
in the paper, since that is what is asked of it: an answer is what stands at a mask behind the end.

Shape letters: B sequences, S places, I items, D width, N targets.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts, small_embedding
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.sequences import Learned, Sequences
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_MASKED = 0.3
_LAST_ALONE = 0.2
_FEED = 4


class BERT4RecModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        width = config.width
        self.place = small_embedding(history + 1, width)
        self.before, self.dropout = nn.LayerNorm(width), nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, _FEED * width, config.dropout, "gelu", batch_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))

    @property
    def reads(self) -> int:
        """One event less than it was trained on: the mask needs a place."""
        return self.history - 1

    def filled(self, tokens_BS: Tensor, inside_BS: Tensor, items_ID: Tensor) -> Tensor:
        """Return what each place should hold, (B, S, D)."""
        rows_ID = torch.cat([items_ID, self.special.weight])
        x_BSD = nn.functional.embedding(tokens_BS, rows_ID) * self.config.width**0.5
        x_BSD = self.dropout(self.before(x_BSD + self.place.weight[: tokens_BS.shape[1]]))
        states_BSD: Tensor = self.head(self.blocks(x_BSD, src_key_padding_mask=~inside_BS))
        return states_BSD

    def answers(self, sequences: Sequences, items_ID: Tensor, now_B: Tensor) -> Tensor:
        """Return what a mask behind each sequence should hold, (B, D)."""
        del now_B
        mask, padding = len(items_ID) + 2, len(items_ID) + 1
        tokens_BS = nn.functional.pad(sequences.tokens, (0, 1), value=padding)
        rows, end_B = torch.arange(len(sequences)), sequences.lengths + 1
        tokens_BS[rows, end_B] = mask
        inside_BS = torch.arange(tokens_BS.shape[1]) <= end_B[:, None]
        return self.filled(tokens_BS, inside_BS, items_ID)[rows, end_B]

    def loss(self, batch: Learned) -> Tensor:
        """Return the cross-entropy of the masked items, nats."""
        items_ID, sequences = self.table(), batch.sequences
        chosen_N = self._chosen(batch)
        tokens_BS = sequences.tokens.clone()
        tokens_BS.view(-1)[batch.own[chosen_N]] = len(items_ID) + 2
        states_BSD = self.filled(tokens_BS, sequences.inside, items_ID)
        states_ND = states_BSD.flatten(0, 1)[batch.own[chosen_N]]
        target_N, weight_N = batch.target[chosen_N], batch.weight[chosen_N]
        return self.softmax(states_ND, target_N, weight_N, items_ID, self.bias_I)

    def _chosen(self, batch: Learned) -> Tensor:
        """Draw which targets are masked, (N,) bool; at least one where any could be."""
        rows, width = batch.sequences.tokens.shape
        inside_N = batch.own >= 0
        row_N = torch.div(batch.own, width, rounding_mode="floor").clamp(min=0)
        last_B = torch.full((rows,), -1).scatter_reduce(0, row_N, batch.own, "amax")
        alone_B = torch.rand(rows) < _LAST_ALONE
        last_N = inside_N & (batch.own == last_B[row_N])
        drawn_N = inside_N & (torch.rand(len(batch.own)) < _MASKED)
        chosen_N = torch.where(alone_B[row_N], last_N, drawn_N)
        return chosen_N if chosen_N.any() else last_N


class BERT4Rec(NextItem):
    """Ranks by BERT4Rec."""

    kind: ClassVar[str] = "bert4rec"
    network: ClassVar[type[NextItemModule]] = BERT4RecModule


def fit_bert4rec(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train BERT4Rec on what lies before the fold's test window."""
    return BERT4Rec.fit(dataset, fold, config)
