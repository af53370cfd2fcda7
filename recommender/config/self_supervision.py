"""What the model learns from the log and the catalogue beside what comes next."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section

Augmentation = Literal["crop", "mask", "reorder", "substitute"]


class SelfSupervisionConfig(Section):
    """Losses that need no outcome: of histories with parts hidden or changed, of items seen twice.

    With all weights 0, the default, nothing is computed and nothing changes.
    """

    masked: float = Field(0.0, ge=0)
    """Weight of naming hidden items of a history, from what lay before them and from what is left
    of the event (what was done, and when)."""

    contrastive: float = Field(0.0, ge=0)
    """Weight of telling which of a batch's histories is the same one, changed in another way."""

    alignment: float = Field(0.0, ge=0)
    """Weight of telling which of a batch's items is the same one, by its words and by its id."""

    augmentations: tuple[Augmentation, ...] = ("crop", "mask", "reorder", "substitute")
    """How histories are changed for `contrastive`: a stretch of it alone, some items hidden, the
    items of a stretch in another order, some items replaced by the nearest in words that the batch
    holds. Each history gets one of these, drawn twice."""

    share: float = Field(0.3, gt=0, lt=1)
    """Share of a history's events that is hidden, replaced or put in another order, and that a
    crop takes away."""

    temperature: float = Field(0.1, gt=0)
    """Of the softmax over cosines in `contrastive` and `alignment`."""

    pretraining_epochs: int = Field(0, ge=0)
    """Passes with these losses alone, before training. 0: they are added to those of training,
    and nothing precedes it."""

    @property
    def weighs(self) -> bool:
        """Whether any of it counts."""
        return bool(self.masked or self.contrastive or self.alignment)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.contrastive and not self.augmentations:
            raise ValueError("contrastive needs at least one of augmentations")
        if len(set(self.augmentations)) != len(self.augmentations):
            raise ValueError(f"augmentations names one twice: {list(self.augmentations)}")
        if self.pretraining_epochs and not self.weighs:
            raise ValueError("pretraining needs a weight: set masked, contrastive or alignment")
        return self
