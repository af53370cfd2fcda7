"""How demand is forecast."""

from __future__ import annotations

from typing import Literal

from recommender.config.section import Section


class TrendsConfig(Section):
    """How demand is forecast."""

    period: Literal["hour", "day", "week"] = "day"
    """Length of one step of a demand series."""
