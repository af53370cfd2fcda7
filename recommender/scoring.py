"""What every recommender can do, from popularity to the Transformer: score the catalogue.

Shape letters: B histories, I items of the catalogue, K items recommended, A event types, N new
items, W width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Catalogue, Histories

Floats = NDArray[np.float32]


class Scorer(Protocol):
    """A trained recommender. Training, evaluation and serving know models only by this."""

    kind: ClassVar[str]
    """Name under which artifacts of this class are stored (see `recommender.artifact`)."""

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks, in the order of its scores."""
        ...

    def scores(self, histories: Histories) -> Floats:
        """Score every item for every history.

        Args:
            histories: B histories; `items` are rows of this scorer's own catalogue.

        Returns:
            (B, I) float32, higher is better, finite everywhere.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Return what `restore` needs besides the weights, as plain JSON values."""
        ...

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the named arrays that `restore` needs."""
        ...

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make the scorer again from what `settings` and `weights` returned."""
        ...


@runtime_checkable
class ActionModel(Protocol):
    """A scorer that knows what people do with items, too."""

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely each event type is, (B, K, A).

        Args:
            histories: B histories.
            items: catalogue rows, (B, K).

        Returns:
            (B, K, A), summing to one over the event types, in the order of `actions.types`: the
            furthest that a person goes with an item that is put in front of them.
        """
        ...


@runtime_checkable
class ValueModel(Protocol):
    """A scorer that knows how large what people give is, too: a rating, a time of stay."""

    @property
    def value_names(self) -> tuple[str | None, ...]:
        """What the value of each event type is called, (A,); None of a type without one."""
        ...

    def expected_values(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return the value expected of each event type, should it happen, (B, K, A).

        Args:
            histories: B histories.
            items: catalogue rows, (B, K).

        Returns:
            (B, K, A) in the unit of the events' values, in the order of `actions.types`; NaN where
            an event type has no value (`value_names`).
        """
        ...


@runtime_checkable
class HoldsFrozen(Protocol):
    """A scorer whose weights hold more than it learned: frozen vectors, facts of items."""

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        ...


@runtime_checkable
class ReadsText(Protocol):
    """A scorer that ranks an item by its text vector as the encoder made it."""

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        ...

    def text_vectors(self) -> Floats:
        """Return the text vectors of its items, (I, W)."""
        ...

    def with_items(self, ids: Sequence[str], titles: Sequence[str], text_NW: Floats) -> Scorer:
        """Return the scorer with new items; those so far keep their rows and their scores.

        Args:
            ids: of the new items, N.
            titles: of them.
            text_NW: their text vectors.
        """
        ...


@runtime_checkable
class ReadsMore(Protocol):
    """A scorer that may read more of a request than the history's items, actions and times."""

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters who asks (`Histories.people`)."""
        ...

    @property
    def reads_surfaces(self) -> bool:
        """Whether it matters where events happened, and where it is asked."""
        ...


def learned_numbers(scorer: Scorer) -> int:
    """Return how many numbers a scorer learned, by gradient or by counting.

    Vectors of a text encoder and what the catalogue says of items are not among them.
    """
    if isinstance(scorer, HoldsFrozen):
        return scorer.parameters
    return sum(int(array.size) for array in scorer.weights().values())


def mask_seen(scores_BI: Floats, histories: Histories) -> None:
    """Set the scores of items that are in the history to -inf, in place."""
    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    scores_BI[rows, histories.items] = -np.inf


def top_k(scores_BI: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the k best items per row and their scores, best first.

    Ties go to the item that comes first in the catalogue, so the answer is deterministic.

    Returns:
        items (B, K) int64 and scores (B, K) float32, K = min(k, I).
    """
    k = min(k, scores_BI.shape[1])
    if not k:
        empty = np.empty((len(scores_BI), 0))
        return empty.astype(np.int64), empty.astype(np.float32)
    items_BK = _unordered(scores_BI, k)
    # They come in the order of the catalogue: the stable sort by score leaves ties in it.
    best_BK = np.take_along_axis(scores_BI, items_BK, 1)
    order_BK = np.argsort(-best_BK, axis=1, kind="stable")
    return np.take_along_axis(items_BK, order_BK, 1), np.take_along_axis(best_BK, order_BK, 1)


def _unordered(scores_BI: Floats, k: int) -> NDArray[np.int64]:
    """Return the k best items per row in the order of the catalogue; at the k-th place, too."""
    count = scores_BI.shape[1]
    if k == count:
        return np.tile(np.arange(count), (len(scores_BI), 1))
    # Values are partitioned, which is twice as fast as their places.
    kth_B1 = np.partition(scores_BI, count - k, axis=1)[:, count - k][:, None]
    chosen_BI = scores_BI >= kth_B1
    # Only where the k-th value occurs more often than there is room do ties have to be told apart.
    tied = np.flatnonzero(np.count_nonzero(chosen_BI, axis=1) > k)
    if len(tied):
        scores_TI, kth_T1 = scores_BI[tied], kth_B1[tied]
        above_TI, at_TI = scores_TI > kth_T1, scores_TI == kth_T1
        room_T1 = k - above_TI.sum(axis=1, keepdims=True)
        chosen_BI[tied] = above_TI | (at_TI & (np.cumsum(at_TI, axis=1) <= room_T1))
    return np.asarray(np.flatnonzero(chosen_BI) % count, np.int64).reshape(len(scores_BI), k)
