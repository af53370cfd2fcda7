"""What is expected of the data and what is done about missing values."""

from __future__ import annotations

from recommender.config.section import Section


class QualityConfig(Section):
    """Expectations on the canonical tables and the policy for missing values."""
