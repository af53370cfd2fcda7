"""How the trained rivals are shaped and trained: one set of settings for all of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section
from recommender.config.text import EncoderConfig, PinnedCheckpoint

SOURCES = frozenset({"behaviour_gpt", "behaviour_bert", "frozen_text"})
"""Settings that say where training begins: a trained rival is read without them."""


class LanguageModelConfig(PinnedCheckpoint):
    """A language model that a rival starts from: `encoder` names it, `revision` pins it."""

    frozen: bool = False
    """Whether its weights stay as they are: then the items, the mark between them and the maps into
    and out of it are all that is trained."""

    title_tokens: int = Field(7, ge=1)
    """Tokens of a title that are read at most. So many and a mark for each event must fit into the
    places that the model has; fewer events are read otherwise."""


class NeuralRivalsConfig(Section):
    """Shape and training of the rivals that are neural networks.

    What they read at most (`model.history`, `model.text_width`, `model.attribute_width`), what is
    a success, the seed and the threads are those of the model they are compared with. As for it, a
    search before the validation window finds the number of epochs, and `training.refit` says
    whether the window is learned from after that.
    """

    width: int = Field(64, ge=4)
    """Dimension of item vectors and states, D."""

    layers: int = Field(2, ge=1)
    """Blocks of the Transformers, layers of the recurrent networks."""

    heads: int = Field(2, ge=1)
    """Attention heads per block; must divide `width`."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout in training."""

    epochs: int = Field(40, ge=1)
    """At most this many passes."""

    patience: int = Field(4, ge=1)
    """Epochs in a row without a better figure on the validation window before training stops."""

    cpu_seconds: float | None = Field(None, gt=0)
    """CPU time after which a training stops where it is, for comparisons at equal cost; such a run
    can't be repeated to the byte. None: no limit."""

    learning_rate: float = Field(1e-3, gt=0)
    """Of AdamW, after 100 steps of warm-up."""

    weight_decay: float = Field(1e-4, ge=0)
    """Decoupled weight decay, of everything."""

    tokens_per_batch: int = Field(4096, ge=64)
    """Events in one step of those that read sequences."""

    cases_per_batch: int = Field(512, ge=2)
    """Items put in front of people in one step of those that rank them, and pairs of user and item
    in one step of matrix factorisation."""

    softmax_items: int = Field(20_000, ge=1)
    """The largest catalogue over all of which a softmax goes; above it, `negatives` are drawn."""

    negatives: int = Field(1024, ge=1)
    """Items drawn evenly per step for a sampled softmax, shared by all its targets."""

    pair_negatives: int = Field(4, ge=1)
    """Items drawn evenly for each positive where pairs of user and item are told apart by binary
    cross-entropy. (SASRec as published draws one.)"""

    behaviour_gpt: LanguageModelConfig | None = None
    """The causal language model that `behaviour-gpt` starts from (GPT-2 and its like); None: a
    small one of `width` and `layers`, from scratch."""

    behaviour_bert: LanguageModelConfig | None = None
    """The encoder that `behaviour-bert` starts from (BERT and its like, which read both ways; the
    bundled one is such a one); None: a small one of `width` and `layers`, from scratch."""

    frozen_text: EncoderConfig | None = None
    """The encoder whose frozen vectors `frozen-text-factorisation` maps, whatever sentence
    transformers can load, large language models among them (the mean of their last states); None:
    that of `features.text`."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
