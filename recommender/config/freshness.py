"""How old features may be, before training and serving refuse them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.section import Section

ViewName = Literal[
    "user_sequence",
    "user_profile",
    "user_social",
    "user_activity",
    "user_behaviour",
    "item_text",
    "item_attributes",
    "item_trend",
]


class FreshnessLimits(Section):
    """Two ways in which features can be old; null: however old, it is only reported."""

    max_age_hours: float | None = Field(None, gt=0)
    """Longest time since the features were published, or the last streamed event changed them, by
    the clock. A publication that has stopped is noticed by this."""

    max_lag_hours: float | None = Field(None, gt=0)
    """Longest time between the newest event in the features and now. A source that has stopped
    is noticed by this, though publications go on. Not for logs of the past, nor for views that
    no event goes into (profiles, texts, attributes)."""


class FreshnessConfig(FreshnessLimits):
    """How old features may be: for every view, or for one view by name."""

    views: dict[ViewName, FreshnessLimits] = Field(default_factory=dict)
    """Limits of single views. They take the place of both limits above: what a view's own entry
    leaves out is null there. `{item_text: {max_age_hours: 720}}`"""

    def of(self, view: str) -> FreshnessLimits:
        """Return the limits of one view."""
        own = {str(name): limits for name, limits in self.views.items()}
        return own.get(view, self)

    @property
    def limited(self) -> bool:
        """Whether any limit is set at all."""
        return any(
            limits.max_age_hours is not None or limits.max_lag_hours is not None
            for limits in (self, *self.views.values())
        )
