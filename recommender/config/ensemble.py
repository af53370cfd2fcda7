"""How the unified model and other systems are fused into one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from recommender.config.evaluation import Rival
from recommender.config.section import Section

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class EnsembleConfig(Section):
    """Reciprocal rank fusion of the unified model with other systems.

    Each member's list gives an item `weight / (constant + place)`; the sums rank. What people do
    with an item, and which value is expected, the unified model alone tells.
    """

    unified: Weight = 1.0
    """Weight of the unified model's list."""

    members: dict[Rival, Weight] = Field(min_length=1)
    """The other systems and the weights of their lists. They are fitted at each cut as the rivals
    of that name are, with the settings of `evaluation`."""

    constant: float = Field(60.0, gt=0, allow_inf_nan=False)
    """Added to every place: the larger, the less the first places outweigh the later ones."""
