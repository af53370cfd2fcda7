"""Ranking a large catalogue without scoring all of it: an index proposes, the model decides.

An item's score is the inner product of the user's state with its vector, plus what the item has by
itself, plus what it earns by being in the history. The first two are one inner product in one
more dimension, which an index can search; items of the history are added to what it found, and
all of them are put in order by their exact scores. A list can therefore lack an item that the
exact one has (recall), but what it shows has the right scores in the right order.

Where only some items may be recommended (categories, candidates), nobody's history is known, or
filters leave too few, the exact way is taken.

Shape letters: B histories, K items recommended, N items proposed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.export.state_scorer import StateScorer
from recommender.features.sequences import Histories
from recommender.ranking import Ranked, Scores, rank
from recommender.scoring import Floats


class Index(Protocol):
    """Finds the best items for queries."""

    def search(self, queries_BD: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
        """Return rows of the catalogue, -1 where there are fewer, and their inner products."""
        ...


class Retriever:
    """Ranks as `recommender.ranking.rank` does, and takes its place.

    Args:
        scorer: whose items are in the index.
        index: of `scorer.item_vectors()`.
    """

    def __init__(self, scorer: StateScorer, index: Index) -> None:
        self._scorer = scorer
        self._items_IE = scorer.item_vectors()
        self._index = index

    def __call__(
        self,
        scorer: Scores,
        histories: Histories,
        k: int,
        *,
        reads: int,
        exclude_seen: bool,
        unwanted: Iterable[tuple[int, int]] = (),
        among: Mapping[int, NDArray[np.int64]] | None = None,
        exactly: Mapping[int, NDArray[np.int64]] | None = None,
    ) -> Ranked:
        """Rank the catalogue for each history.

        Args:
            scorer: of the model, as served: asked where the index can't be.
            histories: as for `rank`; so are the others.
            k: as there.
            reads: as there.
            exclude_seen: as there.
            unwanted: as there.
            among: as there.
            exactly: as there.
        """
        unwanted = list(unwanted)
        among, exactly = among or {}, exactly or {}
        k = min(k, len(self._items_IE))
        recent = histories.recent(reads)
        fast = [
            row
            for row in range(len(histories))
            if row not in among and row not in exactly and histories.lengths[row]
        ]
        items_BK = np.zeros((len(histories), k), np.int64)
        best_BK = np.full((len(histories), k), -np.inf, np.float32)
        proposed = self._proposed(recent, fast, k, histories, unwanted, exclude_seen)
        for row, (items, scores) in proposed.items():
            items_BK[row], best_BK[row] = items, scores
        slow = [row for row in range(len(histories)) if row not in proposed]
        bad = 0
        if slow:
            place = {row: at for at, row in enumerate(slow)}
            ranked = rank(
                scorer,
                _of(histories, slow),
                k,
                reads=reads,
                exclude_seen=exclude_seen,
                unwanted=[(place[row], item) for row, item in unwanted if row in place],
                among={place[row]: items for row, items in among.items()},
                exactly={place[row]: items for row, items in exactly.items()},
            )
            items_BK[slow], best_BK[slow], bad = ranked.items, ranked.scores, ranked.nonfinite
        return Ranked(items_BK, best_BK, bad)

    def _proposed(
        self,
        recent: Histories,
        rows: list[int],
        k: int,
        whole: Histories,
        unwanted: list[tuple[int, int]],
        exclude_seen: bool,
    ) -> dict[int, tuple[NDArray[np.int64], Floats]]:
        """Return the lists of those rows for which enough items are left."""
        if not rows:
            return {}
        asked = self._scorer.retrieval(recent)
        left_out = [set[int]() for _ in range(len(recent))]
        for row, item in unwanted:
            left_out[row].add(item)
        if exclude_seen:
            for row in rows:
                first, stop = whole.offsets[row], whole.offsets[row + 1]
                left_out[row].update(whole.items[first:stop].tolist())
        # Whatever is left out may be among the best: so many more are asked for.
        count = min(k + max(len(left_out[row]) for row in rows), len(self._items_IE))
        found_BN, _ = self._index.search(asked.query_BE[rows], count)
        lists = {}
        for found, row in zip(found_BN, rows, strict=True):
            first, stop = recent.offsets[row], recent.offsets[row + 1]
            seen = recent.items[first:stop].astype(np.int64)
            items = np.union1d(found[found >= 0], seen)
            scores = self._items_IE[items] @ asked.query_BE[row]
            np.add.at(scores, np.searchsorted(items, seen), asked.added[first:stop])
            allowed = ~np.isin(items, list(left_out[row])) & np.isfinite(scores)
            items, scores = items[allowed], scores[allowed]
            if len(items) >= k:
                order = np.argsort(-scores, kind="stable")[:k]
                lists[row] = (items[order], scores[order].astype(np.float32))
        return lists


def _of(histories: Histories, rows: list[int]) -> Histories:
    """Return some of the histories."""
    bounds = [(histories.offsets[row], histories.offsets[row + 1]) for row in rows]
    events = np.concatenate([np.arange(first, stop) for first, stop in bounds]).astype(np.int64)
    lengths = [stop - first for first, stop in bounds]
    return Histories(
        histories.items[events],
        histories.actions[events],
        histories.times[events],
        histories.values[events],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        histories.now[rows],
        people=None if histories.people is None else tuple(histories.people[r] for r in rows),
        surfaces=None if histories.surfaces is None else histories.surfaces[events],
        surface=None if histories.surface is None else histories.surface[rows],
    )
