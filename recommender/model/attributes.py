"""What a catalogue says of its items beside words, as columns that the item tower reads with them.

An item that nobody took yet has these too, so a new item of a known brand and category is more than
its text. Which categories, brands and prices there are is learned from the items known at the cut.

Shape letters: I items, V columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PRICE_BUCKETS = 8
_FEWEST = 2


def attribute_columns(items: pa.Table, known_I: NDArray[np.bool_], width: int) -> Floats:
    """Return the columns of categories, brand and price, (I, V).

    A category that an item shares with k - 1 others of its own is 1 / √k, so that every item's
    categories weigh the same; a brand is 1; a price is 1 in its bucket (equally many known items
    each). What is missing, or too rare to learn from, is zeros.

    Args:
        items: the canonical item table, in catalogue order.
        known_I: items seen in training.
        width: most columns for categories, and for brands; the most frequent.
    """
    categories = [tuple(row or ()) for row in items["categories"].to_pylist()]
    brands = [(brand,) if brand else () for brand in items["brand"].to_pylist()]
    return np.concatenate(
        [
            _shares(categories, known_I, width),
            _shares(brands, known_I, width),
            _buckets(items["price"].to_numpy(zero_copy_only=False).astype(np.float64), known_I),
        ],
        axis=1,
    )


def _shares(names_I: Sequence[tuple[str, ...]], known_I: NDArray[np.bool_], width: int) -> Floats:
    counts: Counter[str] = Counter()
    for names, known in zip(names_I, known_I, strict=True):
        if known:
            counts.update(set(names))
    frequent = sorted((-count, name) for name, count in counts.items() if count >= _FEWEST)
    column = {name: place for place, (_, name) in enumerate(frequent[:width])}
    shares_IV = np.zeros((len(names_I), len(column)), np.float32)
    for row, names in enumerate(names_I):
        places = sorted({column[name] for name in names if name in column})
        if places:
            shares_IV[row, places] = len(places) ** -0.5
    return shares_IV


def _buckets(price_I: NDArray[np.float64], known_I: NDArray[np.bool_]) -> Floats:
    priced_I = np.isfinite(price_I)
    seen = price_I[priced_I & known_I]
    if not len(seen):
        return np.zeros((len(price_I), 0), np.float32)
    edges = np.unique(np.quantile(seen, np.arange(1, PRICE_BUCKETS) / PRICE_BUCKETS))
    inside_IV = np.zeros((len(price_I), len(edges) + 1), np.float32)
    rows = np.flatnonzero(priced_I)
    inside_IV[rows, np.searchsorted(edges, price_I[rows], side="right")] = 1
    return inside_IV
