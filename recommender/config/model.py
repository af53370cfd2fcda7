"""The shape of the unified Transformer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.ranking import RankingConfig
from recommender.config.section import Section


class ModelConfig(Section):
    """The shape of the unified Transformer."""

    width: int = Field(64, ge=8)
    """Dimension of the residual stream, D."""

    layers: int = Field(2, ge=1)
    """Number of blocks."""

    heads: int = Field(2, ge=1)
    """Attention heads per block; must divide `width`."""

    block: Literal["swiglu", "hstu"] = "swiglu"
    """What a block does. `swiglu`: softmax attention, then a gated feed-forward part. `hstu`: gated
    attention without a softmax and without a feed-forward part, with half the weights per block."""

    position: Literal["relative", "rotary", "absolute"] = "relative"
    """How attention knows the order. `relative`: a learned bias by the number of events in between;
    `rotary`: queries and keys turned by their places; `absolute`: a learned vector per place."""

    bias_per_layer: bool = False
    """Whether each block learns biases of its own (for places and for time), or all share them."""

    similarity: Literal["dot", "cosine"] = "dot"
    """Of a query and an item. `cosine`: of vectors of length 1, with a learned temperature."""

    history: int = Field(50, ge=1)
    """Most recent events the model reads, T."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout in training."""

    id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of items whose id part is dropped in a training step, so that text alone must do."""

    text_width: int = Field(128, ge=1)
    """Principal components of the text vectors that the model reads, at most."""

    attribute_width: int = Field(0, ge=0)
    """Most categories, and most brands, that the model reads as inputs of their own, with the
    price's bucket; the most frequent. 0: none, and no price (the default text names them, too)."""

    numbers: tuple[str, ...] = ()
    """Further numbers of items that the model reads, in buckets of equally many items, by their
    names in `source.items.columns.numbers`."""

    vectors: tuple[str, ...] = ()
    """Further vectors of items (of images, of sound) that the model reads beside the text's, by
    their names in `source.items.columns.vectors`."""

    vector_width: int = Field(32, ge=1)
    """Principal components of each further vector that the model reads, at most."""

    user_attributes: tuple[str, ...] = ()
    """What the model reads of whoever asks, by names of attributes of users; what is missing, or
    too rare to learn from, is unknown."""

    user_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the histories of whose owner a training step is told nothing, so that the model can
    answer people of whom nothing is known."""

    surface: bool = False
    """Whether the model reads where events happened, and where its answer will be shown; which
    surfaces there are `actions.surfaces` says."""

    demand: bool = False
    """Whether the level and the forecast of every item's demand (`features.trends`) stand beside
    its popularity, each as of the moment at which it is read."""

    id_buckets: int = Field(0, ge=0)
    """Rows of the table that the items' id parts are in, by two hashes of each id: bounds memory
    where the catalogue is huge. 0: a row for each item."""

    request_time: bool = True
    """Whether the request's hour, weekday and time since the last event shape the answer
    (serving knows them; a comparison from order alone switches this off)."""

    event_time: bool = True
    """Whether each event's hour, weekday and time since the one before it are read (a log that has
    only an order switches this off, with `request_time` and `time_bias`)."""

    time_bias: bool = True
    """Whether attention sees the time between two events, besides how many lie between them."""

    repeats: bool = True
    """Whether items of the history get a learned bonus by recency and count, which knows what
    is bought again and again."""

    text_match: bool = False
    """Whether an item's logit gains by how much its text is like those of the history, with a
    learned weight of its own for items without an id part. Makes item vectors `text_width` wider
    at the end where they are compared with queries."""

    logit_scale: float | None = Field(None, gt=0)
    """What the dot product of a query and an item is multiplied by at first; then it is learned.
    None: 1 / √width, or 6 for cosines. A larger one learns ids faster, and needs many events per
    item."""

    initial_std: float | None = Field(None, gt=0)
    """Standard deviation of the fresh weights of the blocks; None: 0.58 / √(inputs)."""

    ranking: RankingConfig = RankingConfig()
    """What it reads and answers of an item that is put in front of a user."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        if self.position == "rotary" and self.width // self.heads % 2:
            raise ValueError(
                f"rotary positions turn pairs: width / heads ({self.width // self.heads}) "
                "must be even"
            )
        return self

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for key in ("numbers", "vectors", "user_attributes"):
            names = getattr(self, key)
            if len(set(names)) != len(names):
                raise ValueError(f"{key} names one twice: {list(names)}")
        return self
