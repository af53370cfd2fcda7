"""How the text encoder is tuned to what people do with items, where somebody asks for that."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class TextTuning(Section):
    """Low-rank tuning of the text encoder (`python -m recommender.training.text_encoder`)."""

    rank: int = Field(8, ge=1)
    """Of the adapters."""

    alpha: int = Field(16, ge=1)
    """What the adapters' product is multiplied by, times 1 / rank."""

    steps: int = Field(300, ge=1)
    """Batches."""

    batch_size: int = Field(32, ge=2)
    """Pairs of items per batch: each one's words are to be told from those of the others."""

    learning_rate: float = Field(2e-4, gt=0)
    """Of AdamW; falls to nought along a cosine."""

    temperature: float = Field(0.05, gt=0)
    """What similarities are divided by."""
