"""What is expected of features, as distributions."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class ExpectationsConfig(Section):
    """What is expected of features, as distributions."""

    drift_warning: float = Field(0.2, gt=0)
    """Population stability index against the last run above which a feature is reported."""
