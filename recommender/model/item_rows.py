"""What the model holds of each item alone: the tables with a row per item.

Processes that train together may share these out, and a sampled loss reads few of their rows.

Shape letters: I items, D width.
"""

from __future__ import annotations

from torch import nn

from recommender.model.heads import Popularity
from recommender.model.inputs import ItemTower
from recommender.model.ranking import ActionHead, Target

ITEM_ROWS = ("tower.id_ID", "popularity.rest_I", "action.target.own_ID")
"""The parameters that may have a row per item."""

_OF_FEW = 100_000
"""Items up to which every step changes the ranking head's whole table."""


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

    def row_tables(self) -> list[nn.Parameter]:
        """Return the tables of which, with a sampled loss, a step changes the rows it read alone.

        No negatives are drawn for the ranking head, so it meets most items a few times. With the
        momentum of Adam kept for the next time they are met, it hardly learns them: behind DIN by
        .03 AUC where it is ahead otherwise. So its table is one of these in large catalogues only.
        """
        target = self.action.target
        few = len(self.tower.text_IV) <= _OF_FEW
        own = target.own_ID if target is not None and few else None
        return [table for table in self.item_tables() if table is not own]

    def sparse_rows(self, sparse: bool) -> None:
        """Say whether the gradients of these tables have the rows that were asked for alone."""
        by_row = self.row_tables()
        for name, holder in self.holders().items():
            table = self.get_parameter(name)
            holder.sparse = sparse and any(table is each for each in by_row)
