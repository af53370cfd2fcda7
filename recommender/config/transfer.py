"""A model of another catalogue that training starts from."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class TransferConfig(Section):
    """What was learned on one catalogue, taken to another one by its items' words.

    Items are other ones, so nothing that belongs to an item is taken along; how a history is read,
    and which words follow which, is. Both catalogues need the same text encoder.
    """

    model: str = ""
    """Folder of the model to start from, as the train step leaves it; empty: training starts from
    nought."""

    dataset: str = Field("")
    """Folder of the data set that it was trained on, whose item texts tell how it reads words."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.model) != bool(self.dataset):
            raise ValueError("model and dataset go together")
        return self
