"""The champion on this run's evaluation set, though it may have been made for another catalogue.

Shape letters: B requests, I items of the evaluation set, J items of the champion.
"""

from __future__ import annotations

import numpy as np

from recommender.evaluation.score import Ranker
from recommender.features.sequences import Catalogue, Histories
from recommender.scoring import Floats


class Aligned:
    """A scorer, seen through another catalogue; items are matched by their ids.

    Items that the inner scorer doesn't know are ranked below all that it knows; it doesn't see
    them in histories either.

    Args:
        inner: the scorer of the other catalogue.
        catalogue: to look through.
    """

    def __init__(self, inner: Ranker, catalogue: Catalogue) -> None:
        self._inner = inner
        self._catalogue = catalogue
        index = inner.catalogue.index
        self._row_I = np.array([index.get(item, -1) for item in catalogue.ids], np.int32)

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    @property
    def missing(self) -> int:
        """Items of the catalogue that the inner scorer doesn't know."""
        return int((self._row_I < 0).sum())

    @property
    def unknown(self) -> int:
        """Items that the inner scorer ranks and the catalogue lacks."""
        return len(self._inner.catalogue) - len(self._catalogue) + self.missing

    def scores(self, histories: Histories) -> Floats:
        """Return the inner scores in the order of this catalogue, (B, I)."""
        rows = self._row_I[histories.items]
        known = rows >= 0
        owner = np.repeat(np.arange(len(histories)), histories.lengths)
        lengths = np.bincount(owner[known], minlength=len(histories))
        translated = Histories(
            rows[known],
            histories.actions[known],
            histories.times[known],
            histories.values[known],
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            histories.now,
            people=histories.people,
            surfaces=None if histories.surfaces is None else histories.surfaces[known],
            surface=histories.surface,
        )
        scores_BJ = self._inner.scores(translated)
        scores_BI = scores_BJ[:, np.maximum(self._row_I, 0)]
        # The next number below the worst, so that it is lower whatever the scale of the scores.
        floor_B = np.nextafter(scores_BJ.min(axis=1), np.float32(-np.inf), dtype=np.float32)
        return np.where(self._row_I < 0, floor_B[:, None], scores_BI).astype(np.float32)
