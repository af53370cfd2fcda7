"""The items of a data set in the order of every item tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.features.event_order import dictionary


@dataclass(frozen=True)
class Catalogue:
    """The items in tensor order: row i of every item tensor is `ids[i]`."""

    ids: tuple[str, ...]

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each id."""
        return {item: row for row, item in enumerate(self.ids)}

    def rows(self, item_ids: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return the row of each id; −1 for an id that isn't in the catalogue."""
        codes, names = dictionary(item_ids)
        found = pc.index_in(names.cast(pa.string()), value_set=self.array)
        # One more at the end, for the code −1 of a missing id.
        return np.append(found.fill_null(-1).to_numpy(), -1).astype(np.int32)[codes]

    @cached_property
    def array(self) -> pa.Array:
        """The ids as Arrow texts."""
        return pa.array(self.ids, pa.string())

    def __len__(self) -> int:
        return len(self.ids)
