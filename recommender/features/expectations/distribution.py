"""A figure's distribution, small enough to be kept: bins for comparing, a shape for looking.

The bins are quantiles of the run that is kept. A value that fills several of them (most users have
one event, say) gets a bin of its own; otherwise a move from it to any larger value would stay
inside one bin and not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import StorageError
from recommender.quality.drift import population_stability_index

SHAPE = 24
"""Columns of the little histogram."""


@dataclass(frozen=True)
class Distribution:
    """How a figure is distributed over the rows that have it; B bins.

    Attributes:
        rows: that have it.
        edges: rising bounds between bins, (B - 1); bin b holds edges[b - 1] ≤ value < edges[b].
        counts: rows per bin, (B).
        mean: of the figure.
        low, high: ends of the histogram: the 0.5 and 99.5 percent quantiles.
        shape: rows in `SHAPE` columns of equal width from low to high; what is outside is in the
            outermost ones.
    """

    rows: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    low: float
    high: float
    shape: tuple[int, ...]

    @classmethod
    def of(cls, values: NDArray[np.float64], bins: int) -> Distribution | None:
        """Return the distribution of the finite values; None where there are none."""
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        edges = _edges(known, bins)
        low, high = (float(q) for q in np.quantile(known, [0.005, 0.995]))
        shape, _ = np.histogram(
            np.clip(known, low, high), bins=SHAPE, range=(low, high if high > low else low + 1)
        )
        return cls(
            rows=len(known),
            edges=tuple(float(edge) for edge in edges),
            counts=tuple(_counts(known, edges)),
            mean=float(known.mean()),
            low=low,
            high=high,
            shape=tuple(int(count) for count in shape),
        )

    def moved(self, values: NDArray[np.float64]) -> float:
        """Return how far values have moved from this distribution.

        The population stability index over this distribution's bins (see
        `recommender.quality.drift`); 0 where there are no values to compare.
        """
        known = values[np.isfinite(values)]
        if not len(known):
            return 0.0
        return population_stability_index(
            _named(self.counts), _named(_counts(known, np.array(self.edges)))
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the distribution as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Distribution:
        """Read what `to_dict` wrote.

        Raises:
            StorageError: it isn't a distribution.
        """
        try:
            read: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
            }
            found = cls(**read)
        except (TypeError, AttributeError) as error:
            raise StorageError(f"a kept distribution is damaged: {error}") from error
        if len(found.counts) != len(found.edges) + 1:
            raise StorageError("a kept distribution is damaged: its bins don't fit together")
        return found


def _edges(known: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    quantiles = np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf")
    edges, times = np.unique(quantiles, return_counts=True)
    heavy = edges[times > 1]
    if len(edges) == 1:
        heavy = edges  # all the same, or only two bins: the value itself must be told apart
    return np.unique(np.concatenate([edges, np.nextafter(heavy, np.inf)]))


def _counts(known: NDArray[np.float64], edges: NDArray[np.float64]) -> list[int]:
    places = np.searchsorted(edges, known, side="right")
    return [int(count) for count in np.bincount(places, minlength=len(edges) + 1)]


def _named(counts: Sequence[int]) -> dict[str, float]:
    return {str(place): float(count) for place, count in enumerate(counts)}
