"""The shape of the unified Transformer."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class ModelConfig(Section):
    """The shape of the unified Transformer."""

    width: int = Field(64, ge=8)
    """Dimension of the residual stream, D."""

    layers: int = Field(2, ge=1)
    """Number of blocks."""

    heads: int = Field(2, ge=1)
    """Attention heads per block; must divide `width`."""

    history: int = Field(50, ge=1)
    """Most recent events the model reads, T."""

    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout in training."""

    id_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of items whose id part is dropped in a training step, so that text alone must do."""

    text_width: int = Field(128, ge=1)
    """Principal components of the text vectors that the model reads, at most."""

    request_time: bool = True
    """Whether the request's hour, weekday and time since the last event shape the answer
    (serving knows them; a comparison from order alone switches this off)."""

    time_bias: bool = True
    """Whether attention sees the time between two events, besides how many lie between them."""

    repeats: bool = True
    """Whether items of the history get a learned bonus by recency and count, which knows what
    is bought again and again."""

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
