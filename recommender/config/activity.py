"""How a user's activity is counted."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class ActivityConfig(Section):
    """How a user's activity is counted."""

    windows_days: tuple[int, ...] = Field((1, 7, 30, 90), min_length=1)
    """Windows before the moment of asking in which events are counted, in days; each ≥ 1."""
