"""An encoder–decoder Transformer: one part reads the older history, the other goes on from it.

The network of Vaswani et al. (2017), norms first. In training every history is cut at a place
drawn at random: the encoder reads what lies before, both ways, and the decoder says item by item
what followed. To answer, it is cut in the middle.

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

_FEED = 4


class EncoderDecoderModule(NextItemModule):
    """The network; arguments as for every one that finds the next item."""

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__(config, facts, actions, history)
        width, feed = config.width, _FEED * config.width
        self.place = small_embedding(history + 1, width)
        self.dropout = nn.Dropout(config.dropout)
        shape = (width, config.heads, feed, config.dropout, "gelu")
        encoder = nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
        decoder = nn.TransformerDecoderLayer(*shape, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(
            encoder, config.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(decoder, config.layers, nn.LayerNorm(width))

    def decoded(self, sequences: Sequences, items_ID: Tensor, cut_B: Tensor) -> Tensor:
        """Return the decoder's states, (B, S, D).

        Args:
            sequences: the histories.
            items_ID: the item vectors.
            cut_B: how many events the encoder reads of each. State s of the decoder has read s
                events more.
        """
        rows_ID = torch.cat([items_ID, self.special.weight]) * self.config.width**0.5
        read = int(cut_B.max()) + 1
        place_R = torch.arange(read)
        older_BRD = nn.functional.embedding(sequences.tokens[:, :read], rows_ID)
        hidden_BR = place_R > cut_B[:, None]
        memory_BRD = self.encoder(
            self.dropout(older_BRD + self.place.weight[:read]), src_key_padding_mask=hidden_BR
        )
        size = int((sequences.lengths - cut_B).max()) + 1
        # The start token stands at the cut for whatever lies before it.
        place_BS = (cut_B[:, None] + torch.arange(size)).clamp(max=sequences.tokens.shape[1] - 1)
        tokens_BS = sequences.tokens.gather(1, place_BS)
        tokens_BS[:, 0] = len(items_ID)
        newer_BSD = nn.functional.embedding(tokens_BS, rows_ID) + self.place(place_BS)
        causal_SS = torch.ones(size, size, dtype=torch.bool).triu(1)
        states_BSD: Tensor = self.decoder(
            self.dropout(newer_BSD), memory_BRD, causal_SS, memory_key_padding_mask=hidden_BR
        )
        return states_BSD

    def answers(self, sequences: Sequences, items_ID: Tensor, now_B: Tensor) -> Tensor:
        """Return the query at the end of each sequence, (B, D)."""
        del now_B
        cut_B = sequences.lengths // 2
        states_BSD = self.decoded(sequences, items_ID, cut_B)
        return states_BSD[torch.arange(len(sequences)), sequences.lengths - cut_B]

    def loss(self, batch: Learned) -> Tensor:
        """Return the cross-entropy of what follows the cuts, nats."""
        items_ID, sequences = self.table(), batch.sequences
        width = sequences.tokens.shape[1]
        cut_B = (torch.rand(len(sequences)) * (sequences.lengths + 1)).long()
        row_N = batch.state // width
        state_N = batch.state % width - cut_B[row_N]
        after_N = state_N >= 0
        if not after_N.any():
            # All of it in baskets that began before the cuts: nothing is hidden from the decoder.
            cut_B = torch.zeros_like(cut_B)
            state_N, after_N = batch.state % width, torch.ones_like(after_N)
        states_BSD = self.decoded(sequences, items_ID, cut_B)
        states_ND = states_BSD[row_N[after_N], state_N[after_N]]
        target_N, weight_N = batch.target[after_N], batch.weight[after_N]
        return self.softmax(states_ND, target_N, weight_N, items_ID, self.bias_I)


class EncoderDecoder(NextItem):
    """Ranks by an encoder–decoder Transformer."""

    kind: ClassVar[str] = "encoder-decoder"
    network: ClassVar[type[NextItemModule]] = EncoderDecoderModule


def fit_encoder_decoder(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the encoder–decoder on what lies before the fold's test window."""
    return EncoderDecoder.fit(dataset, fold, config)
