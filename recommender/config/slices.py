"""By what people and items are grouped, and how far groups may lie apart."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class SlicesConfig(Section):
    """By what people and items are grouped, and how far groups may lie apart."""

    attributes: tuple[str, ...] = ()
    """Attributes of users (keys of the users table) that results are shown by. Only these leave
    the feature store, beside pseudonyms: name none that identifies a person."""

    largest: int = Field(8, ge=1)
    """Groups of a family that are shown by themselves; smaller ones go together."""

    minimum_users: int = Field(100, ge=2)
    """Smaller groups are shown, but no rule judges them."""

    maximum_loss: float = Field(0.2, ge=0, lt=1)
    """Share of NDCG@10 by which the candidate may be worse than what it is compared with in any
    group, after Holm's correction over all groups."""

    quality_gap: float = Field(0.1, gt=0, le=1)
    """NDCG@10 by which the best and the worst group of an attribute may differ, beyond the gap
    that the rival has: a larger one is reported as unfair."""

    exposure_ratio: float = Field(3.0, gt=1)
    """Factor by which a brand or category may be shown more, or less, than it is taken."""
