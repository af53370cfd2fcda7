"""How a user's activity is counted."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class ActivityConfig(Section):
    """How a user's activity is counted."""

    windows_days: tuple[Annotated[int, Field(ge=1, le=3650)], ...] = Field(
        (1, 7, 30, 90), min_length=1
    )
    """Windows before the moment of asking in which events are counted, in days of 24 hours,
    rising. Distinct items, active days and successes are counted in the longest."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.windows_days) != sorted(set(self.windows_days)):
            raise ValueError(f"windows_days must rise: {list(self.windows_days)}")
        return self
