"""The global time split: train < validation < test."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class SplitConfig(Section):
    """Where time is cut. Nothing at or after a cut is seen by what is made before it."""

    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Share of the events, in time, that early stopping looks at."""

    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Share of the events, the latest in time, that evaluation is done on."""

    validation_start: datetime | None = None
    """An explicit cut instead of `validation_share`; needs `test_start` too."""

    test_start: datetime | None = None
    """An explicit cut instead of `test_share`."""

    folds: int = Field(1, ge=1, le=20)
    """Rolling cuts. With k > 1, k - 1 earlier models are trained too, each tested on the window
    up to the next cut; all windows are judged together. For small data, where the last window
    alone holds too few users. The last fold's model is the candidate."""

    first_test_start_share: float = Field(0.5, gt=0, lt=1)
    """With rolling cuts: the share of events before the first test window."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.validation_start is None) != (self.test_start is None):
            raise ValueError("validation_start and test_start go together")
        if self.validation_start and self.test_start:
            if self.validation_start.tzinfo is None or self.test_start.tzinfo is None:
                raise ValueError("validation_start and test_start need a time zone (… +00:00)")
            if self.validation_start >= self.test_start:
                raise ValueError("validation_start must be before test_start")
        return self
