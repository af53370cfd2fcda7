"""How often a served list is not the best one, so that the log can speak about other policies."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class ExplorationConfig(Section):
    """How often a served list is drawn at random from the best items instead of in their order.

    See `serving/exploration.py` for the policy and its propensities. A request with
    `"explore": false` and one that ranks its own candidates are never drawn.
    """

    epsilon: float = Field(0.05, ge=0, lt=1)
    """Share of the lists that are drawn; 0 turns it off, and every propensity is 1."""

    pool: int = Field(20, ge=1, le=1000)
    """How many of the best items a drawn list is taken from; where a longer list is wanted, as
    many as that. Every one of them is at every place with probability epsilon / pool or more."""
