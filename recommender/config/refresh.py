"""How a model in production is brought up to date between two full trainings."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class RefreshConfig(Section):
    """How a refresh goes on from the champion: on what happened since, and a little of before.

    What isn't named here is as in `training` (losses, batches, clipping, precision).
    """

    method: Literal["full", "lora"] = "full"
    """What is trained. `full`: every weight, from the champion's on. `lora`: the linear maps by
    low-rank adapters, kept beside the merged model in the layout of the library `peft`, and the
    parts that `items` names; everything else stays as the champion has it."""

    rank: int = Field(8, ge=1)
    """Rank of the adapters."""

    alpha: float = Field(16.0, gt=0)
    """An adapter's product is scaled by alpha / rank."""

    items: Literal["new", "touched", "all"] = "all"
    """Which items' own parts (id vector, popularity rest) are trained: those that the champion
    never saw, those with an event since, too, or all of the catalogue. With `model.id_buckets`,
    whose rows items share: all only."""

    epochs: int = Field(2, ge=1)
    """Passes over what happened since, and its replay."""

    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate; below that of a full training, whose weights it starts from."""

    warmup_steps: int = Field(10, ge=0)
    """Steps of linear warm-up."""

    anchor: float = Field(0.1, ge=0)
    """How strongly each step pulls every trained number back to where the champion has it, as a
    decoupled decay does to nought. Takes the place of `training.weight_decay`."""

    replay: float = Field(1.0, ge=0)
    """Earlier moments that are learned again, drawn anew by each refresh, as a multiple of the new
    ones: against forgetting."""

    @model_validator(mode="after")
    def _adapters(self) -> Self:
        if self.method == "full" and self.items != "all":
            raise ValueError("items can be limited with method: lora only; full trains everything")
        return self
