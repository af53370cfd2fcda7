"""What is known of people besides events, as codes that the model has embeddings of.

Which values there are is learned from the people known at the cut. Texts are taken as they are;
an attribute whose values are numbers, and many, is cut into buckets of equally many people.

Shape letters: B histories, P attributes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BUCKETS = 8
MOST_VALUES = 256
_FEWEST = 2
_FEW_NUMBERS = 16
"""Numbers of no more different values than these are taken as texts."""

Person = Mapping[str, str]


@dataclass(frozen=True)
class Attribute:
    """One attribute and its values; code 0 is "unknown", the others follow in order.

    Attributes:
        name: as in the canonical users.
        values: of texts, (N,); none where it is a number.
        edges: of a number's buckets, rising.
    """

    name: str
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """How many codes there are, "unknown" included."""
        return 1 + (len(self.values) or len(self.edges) + 1)

    def code(self, value: str | None) -> int:
        """Return the code of a value; 0 where it is missing, rare or not readable."""
        if value is None:
            return 0
        if self.values:
            return self.values.index(value) + 1 if value in self.values else 0
        number = _number(value)
        return 0 if number is None else int(np.searchsorted(self.edges, number, "right")) + 1


@dataclass(frozen=True)
class PeopleCodes:
    """The attributes that a model reads of whoever asks.

    Attributes:
        attributes: P of them.
    """

    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def learned(cls, people: Sequence[Person | None], names: Sequence[str]) -> Self:
        """Find the values of attributes.

        Args:
            people: those known at the cut.
            names: of the attributes.
        """
        return cls(tuple(_learned(people, name) for name in names))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each attribute has, (P,)."""
        return tuple(each.size for each in self.attributes)

    def of(self, people: Sequence[Person | None] | None, count: int) -> NDArray[np.int64]:
        """Return the codes of people, (B, P).

        Args:
            people: B of them; None: nothing is known of anybody.
            count: B.
        """
        codes_BP = np.zeros((count, len(self.attributes)), np.int64)
        # Values repeat: a look into a table, and one search for each that is not in it.
        for place, attribute in enumerate(self.attributes):
            known: dict[str | None, int] = {}
            for row, person in enumerate(people or ()):
                value = None if person is None else person.get(attribute.name)
                if value not in known:
                    known[value] = attribute.code(value)
                codes_BP[row, place] = known[value]
        return codes_BP

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON values, for `from_json`."""
        return [
            {"name": each.name, "values": list(each.values), "edges": list(each.edges)}
            for each in self.attributes
        ]

    @classmethod
    def from_json(cls, told: Sequence[Mapping[str, Any]]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            tuple(
                Attribute(each["name"], tuple(each["values"]), tuple(each["edges"]))
                for each in told
            )
        )


def _learned(people: Sequence[Person | None], name: str) -> Attribute:
    counts = Counter(person[name] for person in people if person is not None and name in person)
    numbers = {value: number for value in counts if (number := _number(value)) is not None}
    if len(numbers) > _FEW_NUMBERS and len(numbers) == len(counts):
        seen = np.repeat([numbers[value] for value in counts], [counts[value] for value in counts])
        edges = np.unique(np.quantile(seen, np.arange(1, BUCKETS) / BUCKETS))
        return Attribute(name, edges=tuple(float(edge) for edge in edges))
    frequent = sorted((-count, value) for value, count in counts.items() if count >= _FEWEST)
    # A value of its own where there is none, so that "values" and "edges" can be told apart.
    return Attribute(name, tuple(value for _, value in frequent[:MOST_VALUES]) or ("",))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
