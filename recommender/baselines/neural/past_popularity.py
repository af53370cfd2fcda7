"""How popular items were at the moments that rankers learn from, as the unified model knows it.

Shape letters: N cases, X slices of time, I items, F lengths of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.sequences import Ints
from recommender.training.examples import MEMORIES
from recommender.training.popularity import log_popularity


@dataclass(frozen=True)
class PastPopularity:
    """Log popularity at the starts of slices of time, and at the cut.

    Attributes:
        moments: at which slices of about equally many events begin, UTC milliseconds, (X,).
        at_XIF: popularity at those.
        latest_IF: at the cut, which is what answers are made with.
    """

    moments: Ints
    at_XIF: NDArray[np.float32]
    latest_IF: NDArray[np.float32]

    @classmethod
    def before(cls, dataset: Dataset, cut: int, config: Config) -> Self:
        """Count what lies before a cut (ms), in `training.popularity_slices` slices."""
        log = dataset.log.of_types(config.actions.successes, config.actions).before(cut)
        slices = config.training.popularity_slices
        ordered = np.sort(log.times)
        moments = np.array([cut])
        if len(ordered):
            moments = np.unique(ordered[(np.arange(slices) * len(ordered)) // slices])
        size = len(dataset.catalogue)
        counted = log_popularity(log, np.append(moments, cut), size, MEMORIES)
        return cls(moments, counted[:-1], counted[-1])

    def of(self, items_N: Ints, moments_N: Ints) -> NDArray[np.float32]:
        """Return what was known of items at moments, (N, F); before the first slice, as at it."""
        slice_N = np.searchsorted(self.moments[1:], moments_N, side="right")
        known_NF: NDArray[np.float32] = self.at_XIF[slice_N, items_N]
        return known_NF
