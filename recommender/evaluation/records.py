"""What written-down findings are made of."""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict

_DIGITS = 9


def rounded(value: float) -> float | None:
    """Return a number for JSON: rounded below what matters; None for one that isn't finite."""
    return round(float(value), _DIGITS) if math.isfinite(value) else None


class Record(BaseModel):
    """A frozen part of the evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(Record):
    """An estimate with its interval; None where it is not defined."""

    estimate: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, estimate: float, low: float, high: float) -> Self:
        """Return the interval of computed numbers, rounded; what isn't finite is not defined."""
        return cls(estimate=rounded(estimate), low=rounded(low), high=rounded(high))
