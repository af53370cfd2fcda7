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

    @model_validator(mode="after")
    def _heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
