"""The search for settings."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class Searched(Section):
    """What is tried for one setting: a range of numbers, or choices.

    Either `low` and `high`, or `choices`.
    """

    low: float | None = None
    """Least value."""

    high: float | None = None
    """Greatest value."""

    log: bool = False
    """Whether values are spread evenly over orders of magnitude."""

    whole: bool = False
    """Whether values are whole numbers."""

    choices: tuple[bool | int | float | str, ...] = ()
    """Values to choose from."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None:
                raise ValueError("give either choices, or low and high")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ValueError("give choices, or low and high with low < high")
        if self.log and self.low <= 0:
            raise ValueError("orders of magnitude begin above 0: raise low")
        return self


class TuningConfig(Section):
    """The search for settings (`ostinato tune`), by `training.keep_by` on the validation window.

    The test window is not looked at, so that what it says of the winner stays honest.
    """

    space: dict[str, Searched] = Field(
        {
            "training.learning_rate": Searched(low=1e-3, high=1e-2, log=True),
            "training.weight_decay": Searched(low=1e-3, high=0.3, log=True),
            "training.other_weight": Searched(choices=(0.0, 0.1, 0.3)),
            "model.dropout": Searched(low=0.0, high=0.5),
            "model.id_dropout": Searched(low=0.0, high=0.4),
        }
    )
    """What is tried, by dotted key below `model` or `training`. The configured values are the first
    trial, so that the best is never worse than they are; where one is none of the choices, or no
    number, the first trial has another value for it."""

    trials: int = Field(20, ge=1)
    """How many settings are tried, by all workers together."""

    workers: int = Field(2, ge=1, le=64)
    """How many of them at a time: each is a task of the pipeline."""

    prune: bool = True
    """Whether a trial that does worse after an epoch than half of those before it is ended."""

    patience: int = Field(1, ge=0)
    """Epochs of a trial before it may be ended."""

    before_pruning: int = Field(4, ge=0)
    """Trials that are run to their end before any is ended early."""

    storage: Literal["journal", "sqlite", "url"] = "journal"
    """Where the study lies. `journal`: a file in the workspace, fit for network file systems;
    `sqlite`: likewise, for one machine; `url`: a database that `storage_variable` names."""

    storage_variable: str = "OSTINATO_TUNING_STORAGE"
    """Environment variable with the database's URL, which may hold a password."""

    @model_validator(mode="after")
    def _keys(self) -> Self:
        wrong = [key for key in self.space if key.split(".")[0] not in ("model", "training")]
        if wrong or not self.space:
            raise ValueError(f"space must name keys below model or training, not {wrong or 'none'}")
        if "training.keep_by" in self.space:
            raise ValueError("space names training.keep_by, by which trials are compared")
        return self
