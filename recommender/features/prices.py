"""What an item's price is to be compared with: the median of its category."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

ENOUGH = 5
"""Priced items that a category needs before its median says something."""


def category_prices(items: pa.Table) -> pa.Array:
    """Return the price level of each item's category.

    An item is compared within the most specific of its categories (they come most general first)
    that has `ENOUGH` priced items, so that a niche with two items doesn't judge itself.

    Args:
        items: the canonical item table, (I,).

    Returns:
        Float64, (I,): the median of the positive, finite prices; null where no category of the
        item has enough of them.
    """
    named = items["categories"].to_pandas().to_numpy()
    rows = [
        (row, depth, name)
        for row, names in enumerate(named)
        for depth, name in enumerate(() if names is None else names)
        if name
    ]
    if not rows:
        return pa.nulls(items.num_rows, pa.float64())
    each = pd.DataFrame(rows, columns=["item", "depth", "category"])
    prices = items["price"].to_numpy(zero_copy_only=False).astype(np.float64)
    usable = np.where(np.isfinite(prices) & (prices > 0), prices, np.nan)
    each["price"] = usable[each["item"].to_numpy()]
    # One vote per item and category, also where a source repeats a name.
    votes = each.drop_duplicates(["item", "category"]).groupby("category")["price"]
    level = votes.median().where(votes.count() >= ENOUGH)
    each["level"] = each["category"].map(level)
    deepest = each.dropna(subset=["level"]).sort_values(["item", "depth"]).groupby("item").last()
    found = np.full(items.num_rows, np.nan)
    found[deepest.index.to_numpy(np.int64)] = deepest["level"].to_numpy()
    return pa.array(found, pa.float64(), from_pandas=True)
