"""Item-to-item co-occurrence: "people who took this also took that".

The similarity of two items is the cosine of their users, shrunk towards zero for rare pairs:
|U_i ∩ U_j| / (sqrt(|U_i| |U_j|) + shrinkage), with U_i the users with a history event on i
(Sarwar et al. 2001, Item-based collaborative filtering, §3.1; shrinkage as in Bell & Koren 2007,
Improved neighborhood-based collaborative filtering, §2). An item's score is the sum of its
similarities to the history's events, recent ones weighing more.

Shape letters: B histories, T their events (jagged), I items, N neighbours, U users.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model
from recommender.baselines.popularity import count
from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.config.evaluation import ItemKNNConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.scoring import Floats, top_k
from recommender.split import Fold

# The share of popularity in a score: orders what the neighbours leave tied, above all the whole
# catalogue for somebody without history, and is too small to overturn a co-occurrence.
POPULARITY_SHARE = 1e-4
_BLOCK_BYTES = 64 * 2**20


class ItemKNN:
    """Sums the similarities of each item to the events of a history.

    Args:
        catalogue: the items.
        neighbours: the most similar items of each item, (I, N) int32.
        similarities: theirs, 0 where an item has fewer than N, (I, N) float32.
        popularity: success count over the highest one, (I,) float32.
        half_life: events after which a past event weighs half; None: all weigh the same.
    """

    kind: ClassVar[str] = "item-knn"

    def __init__(
        self,
        catalogue: Catalogue,
        neighbours: NDArray[np.int32],
        similarities: NDArray[np.float32],
        popularity: NDArray[np.float32],
        half_life: float | None,
    ) -> None:
        if not len(catalogue) == len(neighbours) == len(similarities) == len(popularity):
            raise ValueError(
                f"{len(neighbours)} rows of neighbours, {len(similarities)} of similarities and "
                f"{len(popularity)} of popularity for {len(catalogue)} items"
            )
        self._catalogue = catalogue
        self._neighbours_IN = neighbours
        self._similarities_IN = similarities
        self._popularity_I = popularity
        self._half_life = half_life

    @classmethod
    def fit(
        cls,
        log: EventLog,
        catalogue: Catalogue,
        actions: ActionsConfig,
        cut: int,
        settings: ItemKNNConfig | None = None,
    ) -> Self:
        """Count who took what together.

        Args:
            log: events of all types.
            catalogue: the items.
            actions: which event types make history, and whether items are taken repeatedly.
            cut: only events strictly before this moment (ms) are read.
            settings: neighbours, shrinkage, half-life.
        """
        settings = settings or ItemKNNConfig()
        known = log.of_types(actions.histories, actions).before(cut)
        neighbours_IN, similarities_IN = _neighbours(
            known, len(catalogue), settings, itself=not actions.exclude_seen
        )
        successes = known.of_types(actions.successes, actions)
        counts_I = count(successes.items, len(catalogue))
        popularity_I = (counts_I / max(counts_I.max(initial=0), 1)).astype(np.float32)
        return cls(catalogue, neighbours_IN, similarities_IN, popularity_I, settings.half_life)

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    def scores(self, histories: Histories) -> Floats:
        """Return the summed similarities with a trace of popularity, (B, I)."""
        size = len(self._catalogue)
        rows_T = np.repeat(np.arange(len(histories)), histories.lengths)
        weights_T = self._recency(histories)
        cells_TN = rows_T[:, None] * size + self._neighbours_IN[histories.items]
        parts_TN = self._similarities_IN[histories.items] * weights_T[:, None]
        sums = np.bincount(cells_TN.ravel(), parts_TN.ravel(), minlength=len(histories) * size)
        scores_BI = sums.reshape(len(histories), size) + POPULARITY_SHARE * self._popularity_I
        return scores_BI.astype(np.float32)

    def _recency(self, histories: Histories) -> NDArray[np.float64]:
        """Return the weight of each event by its place from the end of its history, (T,)."""
        if self._half_life is None:
            return np.ones(len(histories.items))
        ends_T = np.repeat(histories.offsets[1:], histories.lengths)
        newer_T = ends_T - 1 - np.arange(len(histories.items))
        return np.asarray(0.5 ** (newer_T / self._half_life), np.float64)

    def settings(self) -> dict[str, Any]:
        """Return the half-life."""
        return {"half_life": self._half_life}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the neighbours, their similarities and the popularity."""
        return {
            "neighbours": self._neighbours_IN,
            "similarities": self._similarities_IN,
            "popularity": self._popularity_I,
        }

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        return cls(
            catalogue,
            weights["neighbours"],
            weights["similarities"],
            weights["popularity"],
            settings["half_life"],
        )


def _neighbours(
    log: EventLog, size: int, settings: ItemKNNConfig, *, itself: bool
) -> tuple[NDArray[np.int32], Floats]:
    """Return the N most similar items of each item and their similarities, (I, N) each.

    One block of items is compared with the whole catalogue at a time, so that memory is
    bounded by the block and not by the square of the catalogue.
    """
    from scipy.sparse import csr_matrix  # here: serving a fitted model needs no scipy

    taken_UI = csr_matrix(
        (np.ones(len(log), np.float32), (log.user_of_event, log.items)),
        shape=(len(log.users), size),
    )
    taken_UI.data[:] = 1  # duplicates were summed: what counts is whether, not how often
    taken_IU = taken_UI.T.tocsr()
    users_I = np.asarray(taken_UI.sum(axis=0)).ravel()
    width = min(settings.neighbours, size)
    neighbours_IN = np.zeros((size, width), np.int32)
    similarities_IN = np.zeros((size, width), np.float32)
    block = max(1, _BLOCK_BYTES // (size * 16))
    for start in range(0, size, block):
        stop = min(start + block, size)
        together = (taken_IU[start:stop] @ taken_UI).toarray()
        norms = np.sqrt(users_I[start:stop, None] * users_I[None, :]) + settings.shrinkage
        similar = np.divide(together, norms, out=np.zeros_like(together), where=together > 0)
        if not itself:
            similar[np.arange(stop - start), np.arange(start, stop)] = 0
        best, values = top_k(similar, width)
        neighbours_IN[start:stop] = best
        similarities_IN[start:stop] = values
    return neighbours_IN, similarities_IN


def fit_item_knn(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Fit `ItemKNN` on everything before the fold's test window."""
    scorer = ItemKNN.fit(
        dataset.log,
        dataset.catalogue,
        config.actions,
        fold.test_start,
        config.evaluation.item_knn,
    )
    return Model(scorer, dataset.titles, config.actions, config.model.history)
