"""What a module reads beside ids, actions and times, and how that becomes numbers.

It is part of the model: learned from what was known at the cut, kept with the weights, and asked
again for whoever and whatever comes later.

Shape letters: I items, V columns of all modalities, W width of one modality's vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.model import ModelConfig
from recommender.model.attributes import ItemAttributes
from recommender.model.people import PeopleCodes
from recommender.model.whitening import whiten

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reads:
    """What a module reads beside ids, actions and times.

    The item tower's columns are the text's components, then those of the attributes, then those of
    each further vector.

    Attributes:
        surfaces: how many surfaces are told apart; 0: none is read.
        people: what is read of whoever asks.
        items: columns of categories, brand and numbers; None: none is read.
        vectors: columns of each further vector, by name.
    """

    surfaces: int = 0
    people: PeopleCodes = field(default_factory=PeopleCodes)
    items: ItemAttributes | None = None
    vectors: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_json`; empty where nothing more is read."""
        if self == Reads():
            return {}
        return {
            "surfaces": self.surfaces,
            "people": self.people.to_json(),
            "items": None if self.items is None else self.items.to_json(),
            "vectors": dict(self.vectors),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        if not told:
            return cls()
        return cls(
            int(told["surfaces"]),
            PeopleCodes.from_json(told["people"]),
            None if told["items"] is None else ItemAttributes.from_json(told["items"]),
            dict(told["vectors"]),
        )

    @property
    def profiles(self) -> bool:
        """Whether it matters who asks."""
        return bool(self.people.attributes)

    def text_columns(self, columns: int) -> int:
        """Return how many of V columns are the text's."""
        text = self.columns(columns)["text"]
        return len(range(columns)[text])

    def columns(self, columns: int) -> dict[str, slice]:
        """Return which of V columns each part of the items has, in their order.

        Returns:
            spans by `text`, `categories`, `brand`, `price`, `number:<name>` and `vector:<name>`;
            a span may be empty.
        """
        widths = {} if self.items is None else self.items.widths
        widths = {**widths, **{f"vector:{name}": width for name, width in self.vectors.items()}}
        widths = {"text": columns - sum(widths.values()), **widths}
        spans, start = {}, 0
        for name, width in widths.items():
            spans[name] = slice(start, start + width)
            start += width
        return spans


def item_columns(
    items: pa.Table,
    text_IW: Floats,
    known_I: NDArray[np.bool_],
    config: ModelConfig,
    read_text: Callable[[Floats], Floats] | None = None,
) -> tuple[Floats, ItemAttributes | None, dict[str, int]]:
    """Return what the item tower reads of a catalogue.

    Args:
        items: the canonical item table, in catalogue order.
        text_IW: text vectors of the encoder.
        known_I: items seen in training, from which everything is learned.
        config: which modalities are read.
        read_text: how words are read already; None: their whitening is learned, too.

    Returns:
        the columns, (I, V); which of them are attributes; how many each further vector has.
    """
    white = whiten(text_IW, known_I, config.text_width) if read_text is None else read_text(text_IW)
    parts = [white]
    attributes = None
    if config.attribute_width or config.numbers:
        attributes = ItemAttributes.learned(items, known_I, config.attribute_width, config.numbers)
        parts.append(attributes.columns(items))
    widths = {}
    for name in config.vectors:
        parts.append(whiten(vectors_of(items, name), known_I, config.vector_width))
        widths[name] = parts[-1].shape[1]
    return np.concatenate(parts, axis=1), attributes, widths


def vectors_of(items: pa.Table, name: str) -> Floats:
    """Return one of the further vectors of items, zeros where an item has none, (I, W).

    A vector with a number that is not finite counts as none.

    Args:
        items: with the column `vectors`, if any item has one.
        name: of the vector.

    Raises:
        FeatureError: vectors of one name are not of one width.
    """
    from recommender.errors import FeatureError

    column = items["vectors"].to_pylist() if "vectors" in items.column_names else []
    told = [dict(row or ()).get(name) for row in column] or [None] * items.num_rows
    widths = sorted({len(vector) for vector in told if vector})
    if len(widths) > 1:
        raise FeatureError(
            f"vectors {name!r} of items are of different widths: {widths}",
            "a column of vectors must be made by one encoder; check source.items.columns.vectors",
        )
    width = widths[0] if widths else 1
    made = np.array([vector or [0.0] * width for vector in told], np.float32)
    made = made.reshape(items.num_rows, width)
    made[~np.isfinite(made).all(axis=1)] = 0
    return made
