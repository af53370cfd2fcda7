"""What is measured, and what a candidate must show to pass."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class GateConfig(Section):
    """What a candidate must show. Every rule is judged on a paired bootstrap over users."""

    minimum_users: int = Field(500, ge=2)
    """With fewer test users the verdict is `insufficient`, never a pass."""

    minimum_gain_over_popularity: float = Field(0.0, ge=0)
    """The lower end of the interval of NDCG@10 minus popularity's must be above this."""

    champion_margin: float = Field(0.02, ge=0)
    """The candidate may be this share worse than the champion (non-inferiority), not more."""

    implausible_ndcg: float = Field(0.9, gt=0, le=1)
    """An NDCG@10 above this is taken as a leak, and fails."""


class EvaluationConfig(Section):
    """What is measured."""

    k: tuple[int, ...] = (5, 10, 20)
    """Cut-offs of the ranking metrics; 10 must be among them (the gate reads it)."""

    requests_per_user: int = Field(10, ge=1)
    """At most this many requests of one user, the earliest in the test window, are scored."""

    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of the intervals."""

    gate: GateConfig = GateConfig()
    """What a candidate must show."""
