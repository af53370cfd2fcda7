"""What the feature store says of the items that a model ranks, beside what the model itself knows.

Shape letters: I items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shelf:
    """Which items are in which category.

    Attributes:
        rows: by category, the catalogue rows of its items, rising.
        read: whether the store has told; before, no category is known.
    """

    rows: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    read: bool = False

    @classmethod
    def of(cls, categories: Sequence[Sequence[str]]) -> Shelf:
        """Return the shelf of items with these categories, (I,)."""
        found: dict[str, list[int]] = {}
        for row, names in enumerate(categories):
            for name in dict.fromkeys(names):
                found.setdefault(name, []).append(row)
        return cls({name: np.array(rows, np.int64) for name, rows in found.items()}, True)

    def among(self, categories: Iterable[str]) -> NDArray[np.int64]:
        """Return the catalogue rows of the items in any of these categories, rising."""
        found = [self.rows[name] for name in categories if name in self.rows]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
