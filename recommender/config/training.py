"""How the model is trained."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class TrainingConfig(Section):
    """How the model is trained.

    Two phases: a search on the events before the validation window finds out how many epochs are
    best, by NDCG@10 on that window; the final model is trained for as many on everything before
    the test window.
    """

    epochs: int = Field(6, ge=1)
    """At most this many passes over the training sequences; the learning rate ends at nought."""

    patience: int = Field(3, ge=1)
    """Epochs in a row with a validation NDCG below the best before the search stops."""

    tie: float = Field(0.01, ge=0, lt=1)
    """Of the epochs whose validation NDCG is within this share of the best, the latest counts: so
    small a difference is chance, and the longer schedule anneals better."""

    refit: bool = True
    """Whether the validation window is trained on, too, once the number of epochs is known.
    Without it, the model of the best epoch of the search is kept."""

    tokens_per_batch: int = Field(1024, ge=64)
    """Events in one step (sequences of like length are batched together)."""

    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of AdamW, after warm-up and before the cosine."""

    warmup_steps: int = Field(50, ge=0)
    """Steps of linear warm-up."""

    weight_decay: float = Field(0.05, ge=0)
    """Decoupled weight decay of matrices and id vectors (not of norms and biases)."""

    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""

    action_weight: float = Field(0.2, ge=0)
    """Weight of the next-action loss beside the next-item loss."""

    other_weight: float = Field(0.0, ge=0, le=1)
    """Weight of next items that are history but no success (a film rated low), beside 1 for a
    success. They are read as history and train the action head in any case."""

    validation_users: int = Field(1000, ge=1)
    """At most this many users of the validation window are asked after each epoch."""

    checkpoint_every_steps: int = Field(200, ge=1)
    """Steps between checkpoints (one is also written after every epoch)."""

    threads: int = Field(1, ge=1)
    """CPU threads; part of what makes a run repeatable to the byte. A second one gains little at
    small widths, and loses much where another process wants the core."""
