"""The generated catalogue: items with titles in words, styles, prices and companions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.sources.synthetic.words import BRANDS, CATEGORIES, COMPANIONS, STYLES
from recommender.tables import ITEMS

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Shelf:
    """The items and what is true of them. I items, C categories, S styles.

    Attributes:
        table: the canonical item table, `created` included.
        category: (I,) int64, row in `words.CATEGORIES`.
        style: how strongly an item speaks to each taste, (I, S).
        appeal: log of the item's general attractiveness, (I,).
        companions: the items that people turn to next, (I, 3) int64.
        created: UTC milliseconds from which the item can be shown, (I,).
    """

    table: pa.Table
    category: NDArray[np.int64]
    style: NDArray[np.float64]
    appeal: NDArray[np.float64]
    companions: NDArray[np.int64]
    created: NDArray[np.int64]


def stock(items: int, start: int, days: int, random: np.random.Generator) -> Shelf:
    """Fill a shelf.

    Args:
        items: number of items.
        start: first moment of the log, UTC milliseconds; 15 % of the items come later.
        days: length of the log.
        random: source of chance.
    """
    names, styles = tuple(CATEGORIES), tuple(STYLES)
    category = random.integers(len(names), size=items)
    main = random.integers(len(styles), size=items)
    second = (main + random.integers(1, len(styles), size=items)) % len(styles)
    style = np.zeros((items, len(styles)))
    style[np.arange(items), main] = 1.0
    style[np.arange(items), second] += 0.5

    late = random.random(items) < 0.15
    created = start + np.where(late, random.random(items) * days * 0.95 * DAY_MS, 0).astype(
        np.int64
    )
    titles, texts, brands, prices = [], [], [], []
    for row in range(items):
        nouns = CATEGORIES[names[category[row]]]
        noun = nouns[random.integers(len(nouns))]
        first = random.choice(STYLES[styles[main[row]]])
        other = random.choice(STYLES[styles[second[row]]])
        brand = BRANDS[random.integers(len(BRANDS))]
        titles.append(f"{first.capitalize()} {noun} by {brand}, model {row + 1}")
        texts.append(f"A {first} and {other} {noun} for {names[category[row]].lower()}.")
        brands.append(brand)
        prices.append(round(float(np.exp(random.normal(3.2 + 0.5 * (main[row] == 1), 0.6))), 2))
    table = pa.table(
        {
            "item_id": [f"i{row + 1:05d}" for row in range(items)],
            "title": titles,
            "text": texts,
            "categories": [[names[c]] for c in category],
            "brand": brands,
            "price": prices,
            "created": pa.array(created, pa.int64()).cast(ITEMS.field("created").type),
        },
        ITEMS,
    )
    return Shelf(
        table,
        category,
        style,
        random.gumbel(0.0, 0.5, items),
        _companions(category, style, names, random),
        created,
    )


def _companions(
    category: NDArray[np.int64],
    style: NDArray[np.float64],
    names: tuple[str, ...],
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Give every item three companions of like style in its category's companion category."""
    items = len(category)
    following = np.array([names.index(COMPANIONS[name]) for name in names])
    likeness = style @ style.T + random.gumbel(0.0, 0.3, (items, items))
    likeness[category[None, :] != following[category][:, None]] -= 100.0
    np.fill_diagonal(likeness, -1000.0)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :3]
