"""How old features may be."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class FreshnessConfig(Section):
    """How old features may be."""

    max_age_hours: float | None = Field(None, gt=0)
    """Oldest materialization that training and serving accept; null: any, it is only reported."""
