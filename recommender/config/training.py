"""How the model is trained."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class TrainingConfig(Section):
    """How the model is trained."""

    epochs: int = Field(20, ge=1)
    """At most this many passes over the training sequences."""

    patience: int = Field(3, ge=1)
    """Epochs without a better validation NDCG before training stops."""

    tokens_per_batch: int = Field(4096, ge=64)
    """Events in one step (sequences of like length are batched together)."""

    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate of AdamW, after warm-up and before the cosine."""

    warmup_steps: int = Field(50, ge=0)
    """Steps of linear warm-up."""

    weight_decay: float = Field(0.05, ge=0)
    """Decoupled weight decay."""

    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""

    action_weight: float = Field(0.2, ge=0)
    """Weight of the next-action loss beside the next-item loss."""

    checkpoint_every_steps: int = Field(200, ge=1)
    """Steps between checkpoints (one is also written after every epoch)."""

    threads: int = Field(2, ge=1)
    """CPU threads; part of what makes a run repeatable to the byte."""
