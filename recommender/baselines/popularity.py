"""The same ranking for everybody: what was successful most often, ever or lately.

Shape letters: B histories, I items.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model
from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.scoring import Floats
from recommender.split import Fold

DAY_MS = 24 * 60 * 60 * 1000


class Popularity:
    """Ranks by the number of success events before a cut.

    Args:
        catalogue: the items.
        counts: successes of each item, (I,).
    """

    kind: ClassVar[str] = "popularity"

    def __init__(self, catalogue: Catalogue, counts: NDArray[np.float32]) -> None:
        if counts.shape != (len(catalogue),):
            raise ValueError(f"{counts.shape} counts for {len(catalogue)} items")
        self._catalogue = catalogue
        self._counts = counts

    @classmethod
    def fit(cls, log: EventLog, catalogue: Catalogue, actions: ActionsConfig, cut: int) -> Self:
        """Count.

        Args:
            log: events of all types.
            catalogue: the items.
            actions: which event types are a success.
            cut: only events strictly before this moment (ms) are read.
        """
        known = log.of_types(actions.successes, actions).before(cut)
        return cls(catalogue, count(known.items, len(catalogue)))

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    def scores(self, histories: Histories) -> Floats:
        """Return the counts, (B, I), the same row for every history."""
        return np.repeat(self._counts[None, :], len(histories), axis=0)

    def settings(self) -> dict[str, Any]:
        """Return nothing: the counts are all there is."""
        return {}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the counts."""
        return {"counts": self._counts}

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        del settings
        return cls(catalogue, weights["counts"].astype(np.float32))


class RecentPopularity(Popularity):
    """Ranks by the successes of the days before a cut; older ones only break ties.

    On a global time split this is often the strongest ranking without a person in it, because
    catalogues drift.
    """

    kind: ClassVar[str] = "recent-popularity"

    @classmethod
    def fit(
        cls,
        log: EventLog,
        catalogue: Catalogue,
        actions: ActionsConfig,
        cut: int,
        days: float = 7.0,
        least: int = 1000,
    ) -> Self:
        """Count in a window before the cut.

        Args:
            log: events of all types.
            catalogue: the items.
            actions: which event types are a success.
            cut: only events strictly before this moment (ms) are read.
            days: length of the window.
            least: the window grows back in time until it holds this many successes.
        """
        known = log.of_types(actions.successes, actions).before(cut)
        start = cut - round(days * DAY_MS)
        if len(known):
            nth_last = max(len(known) - least, 0)
            start = min(start, int(np.partition(known.times, nth_last)[nth_last]))
        recent = count(known.items[known.times >= start], len(catalogue))
        ever = count(known.items, len(catalogue))
        # Below one, so that it orders only items with the same recent count.
        return cls(catalogue, recent + ever / (ever.max(initial=0) + 1))


def count(items: NDArray[np.int32], size: int) -> NDArray[np.float32]:
    """Return how often each of `size` catalogue rows occurs in `items`, (I,)."""
    return np.bincount(items, minlength=size).astype(np.float32)


def fit_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Fit `Popularity` on everything before the fold's test window.

    It is also what serves the very first users: where nothing is deployed yet, this model is
    the champion that the first candidate has to beat in its canary.
    """
    scorer = Popularity.fit(dataset.log, dataset.catalogue, config.actions, fold.test_start)
    return Model(scorer, dataset.titles, config.actions, config.model.history)


def fit_recent_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Fit `RecentPopularity` on what lies just before the fold's test window."""
    scorer = RecentPopularity.fit(dataset.log, dataset.catalogue, config.actions, fold.test_start)
    return Model(scorer, dataset.titles, config.actions, config.model.history)
