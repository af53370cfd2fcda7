"""Language models that read a history as running text: GPT-style (causal) and BERT-style.

A history is serialised to the words of its items' titles, the latest last, a mark behind each item.
The networks are those of `transformers` (GPT-2, Radford et al. 2019; BERT, Devlin et al. 2019):
tiny and trained from scratch, or from a checkpoint (`evaluation.neural.behaviour_gpt`,
`behaviour_bert`), whose words and weights are then the start, or stay as they are. What stands at
the mark of the last item is the query; an item's vector is its id's plus the mean of its words'.
Without a checkpoint words are hashed into buckets, so that no vocabulary is kept.

Shape letters: B sequences, S states, I items, L words of a title and its mark, D width, N targets.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts, small_embedding
from recommender.baselines.neural.language_model import (
    FIRST,
    MARK,
    PADDING,
    LanguageModel,
    events_of,
)
from recommender.baselines.neural.next_item import NextItem, NextItemModule
from recommender.baselines.neural.sequences import Learned, Moments, Sequences
from recommender.config import Config
from recommender.config.neural_rivals import LanguageModelConfig, NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_LONGEST, _BUCKETS = 8, 8192
_FEED = 4
_SMALL = 0.02


def words_of(titles: Sequence[str]) -> NDArray[np.int64]:
    """Return the buckets of each title's first words and a mark behind them, (I, L)."""
    told = np.full((len(titles), _LONGEST), PADDING, np.int64)
    told[:, -1] = MARK
    for row, title in enumerate(titles):
        for place, word in enumerate(re.findall(r"\w+", title.lower())[: _LONGEST - 1]):
            told[row, place] = FIRST + zlib.crc32(word.encode()) % (_BUCKETS - FIRST)
    return told


class BehaviourTextModule(NextItemModule):
    """What both share.

    Args:
        config: the shape, of what there is no checkpoint for.
        facts: of the items.
        actions: number of event types.
        history: most events of a sequence.
        start: what reads the words; None: a small network, from scratch.
    """

    words_IL: Tensor

    def __init__(
        self,
        config: NeuralRivalsConfig,
        facts: ItemFacts,
        actions: int,
        history: int,
        start: LanguageModel | None = None,
    ) -> None:
        super().__init__(config, facts, actions, history)
        self.start = start
        self.longest = _LONGEST if start is None else start.title_tokens + 1
        count = len(facts.known_I)
        self.register_buffer("words_IL", torch.zeros(count, self.longest, dtype=torch.int64))
        if start is None:
            self.word = small_embedding(_BUCKETS, config.width)
            self.body = self.network(1 + history * _LONGEST)
            return
        self.body = start.body.requires_grad_(not start.frozen)
        self.mark = nn.Parameter(torch.randn(start.word_width) * _SMALL)
        self.into = nn.Linear(start.word_width, config.width, bias=False)
        self.out = nn.Linear(start.state_width, config.width)

    def network(self, places: int) -> Any:
        """Return a language model from scratch, for at most so many words."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Switch to training or back; what is frozen drops nothing out."""
        super().train(mode)
        if self.start is not None and self.start.frozen:
            self.body.eval()
        return self

    def reads_of(self, dataset: Dataset) -> None:
        """Take the words of the titles."""
        told = words_of if self.start is None else self.start.words_of
        self.words_IL.copy_(torch.from_numpy(told(dataset.titles)))

    def vectors(self, words: Tensor) -> Tensor:
        """Look up words, (…, their width)."""
        if self.start is None:
            found: Tensor = self.word(words)
            return found
        known = self.body.get_input_embeddings()((words - FIRST).clamp(min=0))
        return torch.where((words == MARK)[..., None], self.mark, known)

    def table(self) -> Tensor:
        """Return the vectors of the items, id and words, (I, D)."""
        some_IL1 = (self.words_IL >= FIRST)[..., None].to(torch.float32)
        sums = (self.vectors(self.words_IL) * some_IL1).sum(dim=1)
        means = sums / some_IL1.sum(dim=1).clamp(min=1)
        vectors_ID: Tensor = self.items() + (means if self.start is None else self.into(means))
        return vectors_ID

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return what is known after the start and after each event, (B, S, D)."""
        del items_ID
        read_B = sequences.lengths
        return self.read(sequences, read_B)

    def read(self, sequences: Sequences, read_B: Tensor) -> Tensor:
        """Return what stands at the start and at each mark, the first `read_B` events known."""
        size, states = len(self.words_IL), sequences.tokens.shape[1]
        events_BE = sequences.tokens[:, 1:]
        words_BW = self.words_IL[events_BE.clamp(max=size - 1)].flatten(1)
        known_BE = torch.arange(states - 1) < read_B[:, None]
        known_BW = known_BE.repeat_interleave(self.longest, dim=1) & (words_BW != PADDING)
        start_B1 = torch.full((len(events_BE), 1), MARK)
        inside_BW = torch.cat([torch.ones_like(start_B1, dtype=torch.bool), known_BW], dim=1)
        words_BW = torch.cat([start_B1, words_BW], dim=1)
        found = self.body(
            inputs_embeds=self.vectors(words_BW), attention_mask=inside_BW.to(torch.int64)
        )
        marks: Tensor = found.last_hidden_state[:, :: self.longest]
        return marks if self.start is None else self.out(marks)


class BehaviourGPTModule(BehaviourTextModule):
    """Every mark has read the words before it."""

    def network(self, places: int) -> nn.Module:
        """Return GPT-2 without words of its own."""
        from transformers import GPT2Config, GPT2Model

        config, rate = self.config, self.config.dropout
        shape = GPT2Config(
            vocab_size=1,
            n_positions=places,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            resid_pdrop=rate,
            embd_pdrop=rate,
            attn_pdrop=rate,
            use_cache=False,
        )
        network: nn.Module = GPT2Model(shape)
        return network


class BehaviourBERTModule(BehaviourTextModule):
    """All words are read both ways, so that a pass answers for one moment alone."""

    def network(self, places: int) -> nn.Module:
        """Return BERT without words of its own."""
        from transformers import BertConfig, BertModel

        config, rate = self.config, self.config.dropout
        shape = BertConfig(
            vocab_size=1,
            max_position_embeddings=places,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=_FEED * config.width,
            hidden_dropout_prob=rate,
            attention_probs_dropout_prob=rate,
        )
        network: nn.Module = BertModel(shape, add_pooling_layer=False)
        return network

    def loss(self, batch: Learned) -> Tensor:
        """Return the cross-entropy of one moment of each window, drawn evenly, nats."""
        sequences, items_ID = batch.sequences, self.table()
        rows, width = sequences.tokens.shape
        row_N = torch.div(batch.state, width, rounding_mode="floor")
        order_N = torch.randperm(len(row_N))
        drawn_B = torch.full((rows,), -1)
        drawn_B[row_N[order_N]] = order_N
        drawn_C = drawn_B[drawn_B >= 0]
        # Whatever comes after the moment is hidden: these states have read it, else.
        read_B = torch.zeros(rows, dtype=torch.int64)
        read_B[row_N[drawn_C]] = batch.state[drawn_C] % width
        states_CD = self.read(sequences, read_B).flatten(0, 1)[batch.state[drawn_C]]
        moments = Moments.of(sequences, batch.state[drawn_C], batch.now[drawn_C])
        queries_CD = self.queries(states_CD, moments)
        target_C, weight_C = batch.target[drawn_C], batch.weight[drawn_C]
        return self.softmax(queries_CD, target_C, weight_C, items_ID, self.bias_I)


class BehaviourText(NextItem):
    """What ranks by either of them."""

    network: ClassVar[type[BehaviourTextModule]]
    causal: ClassVar[bool]

    @classmethod
    def start(cls, config: NeuralRivalsConfig) -> LanguageModelConfig | None:
        """Return the checkpoint that training begins from; None: from scratch."""
        return config.behaviour_gpt if cls.causal else config.behaviour_bert

    @classmethod
    def limited(cls, config: Config) -> Config:
        """Return the configuration with as much history as its checkpoint has places for.

        Raises:
            FeatureError: the checkpoint can't be fetched or read.
            ConfigError: it has no place for one event.
        """
        chosen = cls.start(config.evaluation.neural)
        most = None if chosen is None else events_of(chosen, _store(config))
        if most is None or most >= config.model.history:
            return config
        model = config.model.model_copy(update={"history": most})
        return config.model_copy(update={"model": model})

    @classmethod
    def fresh(cls, config: Config, facts: ItemFacts) -> BehaviourTextModule:
        """Return the network before training.

        Raises:
            FeatureError: its checkpoint can't be fetched or loaded.
            ConfigError: its checkpoint is a network of another kind.
        """
        settings, types = config.evaluation.neural, len(config.actions.types)
        chosen = cls.start(settings)
        begun = None
        if chosen is not None:
            begun = LanguageModel.pretrained(chosen, _store(config), causal=cls.causal)
        return cls.network(settings, facts, types, config.model.history, begun)

    @classmethod
    def shaped(
        cls, settings: dict[str, Any], config: NeuralRivalsConfig, facts: ItemFacts
    ) -> BehaviourTextModule:
        """Return the network that was stored, without its weights."""
        told = settings.get("language_model")
        begun = None if told is None else LanguageModel.restored(told)
        history = int(settings["history"])
        return cls.network(config, facts, int(settings["actions"]), history, begun)

    def settings(self) -> dict[str, Any]:
        """Return the shape, and that of the language model it started from."""
        begun = cast(BehaviourTextModule, self.module).start
        told = super().settings()
        return told if begun is None else told | {"language_model": begun.told()}


class BehaviourGPT(BehaviourText):
    """Ranks by the GPT-style language model."""

    kind: ClassVar[str] = "behaviour-gpt"
    network: ClassVar[type[BehaviourTextModule]] = BehaviourGPTModule
    causal: ClassVar[bool] = True


class BehaviourBERT(BehaviourText):
    """Ranks by the BERT-style encoder."""

    kind: ClassVar[str] = "behaviour-bert"
    network: ClassVar[type[BehaviourTextModule]] = BehaviourBERTModule
    causal: ClassVar[bool] = False


def _store(config: Config) -> Path:
    return config.paths.cache / "encoders"


def fit_behaviour_gpt(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the GPT-style language model on what lies before the fold's test window."""
    return BehaviourGPT.fit(dataset, fold, config)


def fit_behaviour_bert(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the BERT-style encoder on what lies before the fold's test window."""
    return BehaviourBERT.fit(dataset, fold, config)
