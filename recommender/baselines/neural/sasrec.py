"""SASRec: a causal Transformer over items in order (Kang & McAuley 2018).

As published: learned places, queries normed and keys and values not, a pointwise feed-forward
part with a rectifier, and binary cross-entropy against one item drawn evenly for each target that
the sequence doesn't hold. `sasrec-softmax` is the same network with a softmax over the catalogue,
which Klenitskiy & Vasilev (2023) found much stronger.

Shape letters: B sequences, S states, I items, D width, N targets, J drawn items.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts, small_embedding
from recommender.baselines.neural.losses import pair_loss
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.sequences import SPECIAL, Learned, Sequences
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_DRAWS = 8


class Block(nn.Module):
    """Attention to what came before, then a pointwise feed-forward part.

    Args:
        width: D.
        heads: of the attention.
        dropout: on both parts.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.joined = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, width),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return the states after the block, (B, S, D)."""
        normed_BSD = self.before(x_BSD)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(normed_BSD), self.key(x_BSD), self.value(x_BSD))
        )
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        x_BSD = normed_BSD + self.joined(attended.transpose(1, 2).flatten(2))
        normed_BSD = self.between(x_BSD)
        fed_BSD: Tensor = normed_BSD + self.feed(normed_BSD)
        return fed_BSD


class SASRecModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    biased: ClassVar[bool] = False

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        self.place = small_embedding(history + 1, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(
            *(Block(config.width, config.heads, config.dropout) for _ in range(config.layers))
        )
        self.norm = nn.LayerNorm(config.width)

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return what is known after the start and after each event, (B, S, D)."""
        x_BSD = self.embedded(sequences, items_ID) * self.config.width**0.5
        x_BSD = x_BSD + self.place.weight[: x_BSD.shape[1]]
        states_BSD: Tensor = self.norm(self.blocks(self.dropout(x_BSD)))
        return states_BSD


class SASRecPairsModule(SASRecModule):
    """The network with the loss as published."""

    def loss(self, batch: Learned) -> Tensor:
        """Return the binary cross-entropy of targets and as many drawn items, nats."""
        items_ID = self.table()
        states_ND = self.asked(batch, items_ID)
        drawn_N = self._drawn(batch)
        both_N2 = torch.stack([batch.target, drawn_N], dim=1)
        logits_N2 = (items_ID[both_N2] @ states_ND[:, :, None])[..., 0] + self.bias_I[both_N2]
        return pair_loss(logits_N2[:, 0], logits_N2[:, 1:], batch.weight)

    def _drawn(self, batch: Learned) -> Tensor:
        """Draw an item for each target that its sequence doesn't hold, (N,)."""
        known_J, tokens_BS = self.softmax.known, batch.sequences.tokens
        row_N = batch.state // tokens_BS.shape[1]
        taken = torch.zeros(len(tokens_BS), len(self.bias_I) + SPECIAL, dtype=torch.bool)
        taken.scatter_(1, tokens_BS, torch.ones_like(tokens_BS, dtype=torch.bool))
        taken[row_N, batch.target] = True
        drawn_N = known_J[torch.randint(len(known_J), (len(row_N),))]
        # Somebody who took nearly everything may be left with something taken.
        for _ in range(_DRAWS):
            wrong_N = taken[row_N, drawn_N]
            if not wrong_N.any():
                break
            again_N = known_J[torch.randint(len(known_J), (len(row_N),))]
            drawn_N = torch.where(wrong_N, again_N, drawn_N)
        return drawn_N


class SASRec(NextItem):
    """Ranks by SASRec as published."""

    kind: ClassVar[str] = "sasrec"
    network: ClassVar[type[NextItemModule]] = SASRecPairsModule


class SASRecSoftmax(NextItem):
    """Ranks by SASRec, trained with a softmax."""

    kind: ClassVar[str] = "sasrec-softmax"
    network: ClassVar[type[NextItemModule]] = SASRecModule


def fit_sasrec(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train SASRec on what lies before the fold's test window."""
    return SASRec.fit(dataset, fold, config)


def fit_sasrec_softmax(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train SASRec with a softmax on what lies before the fold's test window."""
    return SASRecSoftmax.fit(dataset, fold, config)
