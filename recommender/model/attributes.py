"""What a catalogue says of its items beside words, as columns that the item tower reads with them.

An item that nobody took yet has these too, so a new item of a known brand and category is more than
its text. Which categories, brands and buckets there are is learned from the items known at the cut
and kept with the model, which so can read items that come later.

Shape letters: I items, V columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PRICE_BUCKETS = 8
"""Of prices and of every other number."""

_FEWEST = 2


@dataclass(frozen=True)
class ItemAttributes:
    """Which columns there are.

    Attributes:
        categories: the most frequent.
        brands: the most frequent.
        price: edges of the price's buckets, rising; None: prices are not read.
        numbers: the same of further numbers, by name.
    """

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    price: tuple[float, ...] | None = None
    numbers: Mapping[str, tuple[float, ...] | None] | None = None

    @classmethod
    def learned(
        cls,
        items: pa.Table,
        known_I: NDArray[np.bool_],
        width: int,
        numbers: Sequence[str] = (),
    ) -> Self:
        """Find the columns of a catalogue.

        Args:
            items: the canonical item table, in catalogue order.
            known_I: items seen in training: no other has a part in what is learned.
            width: most columns for categories, and for brands; the most frequent. 0: none, and
                none for the price.
            numbers: names of further numbers.
        """
        further = {name: _edges(_number(items, name), known_I) for name in numbers}
        if not width:
            return cls(numbers=further)
        return cls(
            _frequent(_categories(items), known_I, width),
            _frequent(_brands(items), known_I, width),
            _edges(_price(items), known_I),
            further,
        )

    def columns(self, items: pa.Table) -> Floats:
        """Return the columns of items, (I, V).

        A category that an item shares with k - 1 others of its own is 1 / √k, so that every
        item's categories weigh the same; a brand is 1; a number is 1 in its bucket (equally many
        known items each). What is missing, not finite or too rare to learn from is zeros.

        Args:
            items: in canonical columns; I of them, not only those that were learned from.
        """
        parts = [_shares(_categories(items), self.categories), _shares(_brands(items), self.brands)]
        if self.price is not None:
            parts.append(_inside(_price(items), self.price))
        for name, edges in (self.numbers or {}).items():
            if edges is not None:
                parts.append(_inside(_number(items, name), edges))
        return np.concatenate(parts, axis=1)

    @property
    def widths(self) -> dict[str, int]:
        """How many columns each part has, in the order of `columns`."""
        told = {"categories": len(self.categories), "brand": len(self.brands)}
        told |= {"price": 0 if self.price is None else len(self.price) + 1}
        for name, edges in (self.numbers or {}).items():
            told[f"number:{name}"] = 0 if edges is None else len(edges) + 1
        return told

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_json`."""
        return {
            "categories": list(self.categories),
            "brands": list(self.brands),
            "price": None if self.price is None else list(self.price),
            "numbers": {
                name: None if edges is None else list(edges)
                for name, edges in (self.numbers or {}).items()
            },
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            tuple(told["categories"]),
            tuple(told["brands"]),
            None if told["price"] is None else tuple(told["price"]),
            {
                name: None if edges is None else tuple(edges)
                for name, edges in told["numbers"].items()
            },
        )


def _categories(items: pa.Table) -> list[tuple[str, ...]]:
    return [tuple(row or ()) for row in items["categories"].to_pylist()]


def _brands(items: pa.Table) -> list[tuple[str, ...]]:
    return [(brand,) if brand else () for brand in items["brand"].to_pylist()]


def _price(items: pa.Table) -> NDArray[np.float64]:
    return np.asarray(items["price"].to_numpy(zero_copy_only=False), np.float64)


def _number(items: pa.Table, name: str) -> NDArray[np.float64]:
    """Return one of the further numbers, NaN where an item has none, (I,)."""
    if "numbers" not in items.column_names:
        return np.full(items.num_rows, np.nan)
    told = [dict(row or ()).get(name) for row in items["numbers"].to_pylist()]
    return np.array([np.nan if number is None else number for number in told], np.float64)


def _frequent(
    names_I: Sequence[tuple[str, ...]], known_I: NDArray[np.bool_], width: int
) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for names, known in zip(names_I, known_I, strict=True):
        if known:
            counts.update(set(names))
    frequent = sorted((-count, name) for name, count in counts.items() if count >= _FEWEST)
    return tuple(name for _, name in frequent[:width])


def _shares(names_I: Sequence[tuple[str, ...]], kept: Sequence[str]) -> Floats:
    column = {name: place for place, name in enumerate(kept)}
    shares_IV = np.zeros((len(names_I), len(column)), np.float32)
    for row, names in enumerate(names_I):
        places = sorted({column[name] for name in names if name in column})
        if places:
            shares_IV[row, places] = len(places) ** -0.5
    return shares_IV


def _edges(number_I: NDArray[np.float64], known_I: NDArray[np.bool_]) -> tuple[float, ...] | None:
    """Return what divides the known numbers into buckets; None where there are none."""
    seen = number_I[np.isfinite(number_I) & known_I]
    if not len(seen):
        return None
    edges = np.unique(np.quantile(seen, np.arange(1, PRICE_BUCKETS) / PRICE_BUCKETS))
    return tuple(float(edge) for edge in edges)


def _inside(number_I: NDArray[np.float64], edges: tuple[float, ...]) -> Floats:
    inside_IV = np.zeros((len(number_I), len(edges) + 1), np.float32)
    rows = np.flatnonzero(np.isfinite(number_I))
    inside_IV[rows, np.searchsorted(edges, number_I[rows], side="right")] = 1
    return inside_IV
