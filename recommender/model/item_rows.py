"""What the model holds of each item alone: the tables with a row per item.

Processes that train together may share these out, and a sampled loss reads few of their rows.

Shape letters: I items, D width, O outputs of the ranking head.
"""

from __future__ import annotations

from torch import nn

from recommender.model.heads import Popularity
from recommender.model.inputs import ItemTower
from recommender.model.ranking import ActionHead, Target

ITEM_ROWS = ("tower.id_ID", "popularity.rest_I", "action.target.own_IO")
"""The parameters that may have a row per item."""


class HoldsItemRows(nn.Module):
    """A model with such tables.

    Attributes:
        tower: makes item vectors.
        popularity: where the logits of items start.
        action: tells what people do with items.
    """

    tower: ItemTower
    popularity: Popularity
    action: ActionHead

    def item_tables(self) -> list[nn.Parameter]:
        """Return the parameters that have a row per item."""
        return [self.get_parameter(name) for name in self.holders()]

    def holders(self) -> dict[str, ItemTower | Popularity | Target]:
        """Return who holds what is learned of each item alone, by the parameter's name."""
        target = self.action.target
        held: tuple[ItemTower | Popularity | Target | None, ...]
        held = (self.tower, self.popularity, target)
        return {n: each for n, each in zip(ITEM_ROWS, held, strict=True) if each is not None}

    def sparse_rows(self, sparse: bool) -> None:
        """Say whether the gradients of item tables have the rows that were asked for alone."""
        for holder in self.holders().values():
            holder.sparse = sparse
