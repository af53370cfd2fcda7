"""Histories as rectangles: what a module reads.

Shape letters: B histories, T events in the longest of them, P attributes of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.features.sequences import EventLog, Histories, Ints

SURFACE_STEP = 128
"""An event's code is that of its type plus so many times that of its surface: types are int8."""


@dataclass(frozen=True)
class Padded:
    """Histories, oldest event first, padded behind their ends.

    A causal model never looks from an event at what lies behind it, so that padding there can't
    change a state that counts.

    Attributes:
        items: catalogue rows, padded with any row, (B, T) int64.
        actions: event-type codes, 1 …; 0 at padded places, (B, T) int64. Where surfaces are told
            apart, `SURFACE_STEP` times the surface's code comes on top.
        times: UTC milliseconds; the last one is repeated at padded places, (B, T) int64.
        people: codes of what is known of whoever it is, (B, P) int64; None: nothing.
    """

    items: Tensor
    actions: Tensor
    times: Tensor
    people: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def events(self) -> int:
        """T."""
        return self.items.shape[1]

    @classmethod
    def cut(
        cls,
        source: EventLog | Histories,
        start: Ints,
        lengths: Ints,
        *,
        surfaces: bool = False,
        people: Ints | None = None,
    ) -> Self:
        """Cut ranges of events out of a log.

        Args:
            source: the events.
            start: first event of each range, (B,).
            lengths: events of each range, (B,).
            surfaces: whether the codes of events tell where they happened.
            people: codes of what is known of whoever it is, (B, P).
        """
        told = None if people is None else tensor(people)
        longest = int(lengths.max(initial=0))
        if not longest:
            empty = torch.zeros(len(lengths), 0, dtype=torch.int64)
            return cls(empty, empty, empty, told)
        places_T = np.arange(longest)
        inside_BT = places_T < lengths[:, None]
        rows_BT = start[:, None] + np.minimum(places_T, np.maximum(lengths - 1, 0)[:, None])
        rows_BT[lengths == 0] = 0
        codes_BT = source.actions[rows_BT]
        if surfaces and source.surfaces is not None:
            codes_BT = codes_BT + SURFACE_STEP * source.surfaces[rows_BT].astype(np.int64)
        return cls(
            tensor(np.where(inside_BT, source.items[rows_BT], 0)),
            tensor(np.where(inside_BT, codes_BT, 0)),
            tensor(source.times[rows_BT]),
            told,
        )


def tensor(array: NDArray[Any]) -> Tensor:
    """Return an integer array as an int64 tensor."""
    return torch.from_numpy(np.ascontiguousarray(array, np.int64))
