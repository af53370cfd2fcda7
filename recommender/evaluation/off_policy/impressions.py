"""What a policy showed, with which probability, and what came of it.

An impression without a usable propensity can't be weighed, and leaving it out may favour one
policy over the other: such rows are set aside, counted by kind, and named with an example.

Shape letters: N impressions, U units (people, whose impressions depend on each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recommender.errors import EvaluationError

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Impressions:
    """Impressions that can be weighed.

    Attributes:
        rows: which rows of the log they are, (N,).
        units: whose they are, as rows 0 … U - 1, (N,).
        rewards: what came of each (a click: 1 or 0), (N,).
        propensities: with which probability the logging policy showed what it showed, in
            (0, 1], (N,).
        set_aside: how many rows of the log could not be used, by reason.
    """

    rows: Ints
    units: Ints
    rewards: Doubles
    propensities: Doubles
    set_aside: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def unit_count(self) -> int:
        """The number of people, U."""
        return int(self.units.max()) + 1 if len(self) else 0

    def share_set_aside(self) -> float:
        """Return the share of the log's rows that could not be used."""
        lost = sum(self.set_aside.values())
        return lost / (lost + len(self)) if lost else 0.0


def impressions(people: ArrayLike, rewards: ArrayLike, propensities: ArrayLike) -> Impressions:
    """Read a log.

    Args:
        people: who saw each impression; any ids, one per row.
        rewards: what came of it; may hold NaN, which is set aside.
        propensities: of the logging policy; NaN where it was not logged.

    Raises:
        EvaluationError: the columns differ in length, or no row can be used.
    """
    units, reward, propensity = (
        np.asarray(people),
        np.asarray(rewards, np.float64),
        np.asarray(propensities, np.float64),
    )
    if not len(units) == len(reward) == len(propensity):
        raise EvaluationError(
            f"the log's columns differ in length: {len(units)} people, {len(reward)} rewards, "
            f"{len(propensity)} propensities"
        )
    faults = {
        "propensity missing": np.isnan(propensity),
        "propensity 0": propensity == 0,
        "propensity outside [0, 1]": (propensity < 0) | (propensity > 1),
        "reward missing": ~np.isfinite(reward),
    }
    usable = ~np.any(list(faults.values()), axis=0)
    if not usable.any():
        counts = ", ".join(f"{kind}: {int(rows.sum())}" for kind, rows in faults.items())
        raise EvaluationError(
            f"none of the {len(reward)} logged impressions can be weighed ({counts})",
            "log the propensity of every shown item, and let the policy explore",
        )
    rows = np.flatnonzero(usable)
    codes, _ = pd.factorize(units[rows])
    return Impressions(
        rows,
        codes.astype(np.int64),
        reward[rows],
        propensity[rows],
        _first_reasons(faults),
    )


def _first_reasons(faults: dict[str, NDArray[np.bool_]]) -> dict[str, int]:
    """Count each unusable row once, under the first reason that applies to it."""
    counted = np.zeros(len(next(iter(faults.values()))), bool)
    counts = {}
    for kind, rows in faults.items():
        if new := int((rows & ~counted).sum()):
            counts[kind] = new
        counted |= rows
    return counts
