"""Ranking by text alone: what is written about an item against what is written about a user.

Two rivals that share everything but how a user becomes a vector. `history-text` takes the mean of
the vectors of the items in the history; `behaviour-text` encodes the user's recent events as a
sentence (the view `user_behaviour`). Neither learns anything from other users, so what they reach
is what text gives by itself, also for items that nobody has taken yet.

Shape letters: B histories, T their events (jagged), I items, W width of the vectors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model
from recommender.baselines.item_knn import POPULARITY_SHARE
from recommender.baselines.popularity import count
from recommender.config import Config
from recommender.config.text import TextConfig
from recommender.features.behaviour import encode_behaviour, sentences, titles
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.features.vector_cache import content_hash
from recommender.scoring import Floats, Scorer
from recommender.split import Fold

Encode = Callable[[Sequence[str]], Floats]
"""Texts to vectors, (N,) → (N, W)."""


class _ContentRanking:
    """Ranks items by the cosine of their text vector and the user's.

    Args:
        catalogue: the items.
        vectors: of the items, of length 1; zeros where there is no text, (I, W).
        popularity: success count over the highest one, (I,); orders what text leaves tied.
        events: most recent events of a history that are read.
    """

    def __init__(
        self, catalogue: Catalogue, vectors: Floats, popularity: Floats, events: int
    ) -> None:
        if not len(catalogue) == len(vectors) == len(popularity):
            raise ValueError(f"{len(vectors)} vectors for {len(catalogue)} items")
        self._catalogue = catalogue
        self._vectors_IW = vectors
        self._popularity_I = popularity
        self._events = events
        self._mute_I = ~vectors.any(axis=1)

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    @property
    def parameters(self) -> int:
        """How many numbers were learned: how often each item was taken."""
        return self._popularity_I.size

    def scores(self, histories: Histories) -> Floats:
        """Return the cosines with a trace of popularity, (B, I); items without text come last."""
        scores_BI = self._users(histories) @ self._vectors_IW.T
        scores_BI[:, self._mute_I] = -1
        return np.asarray(scores_BI + POPULARITY_SHARE * self._popularity_I, np.float32)

    def text_vectors(self) -> Floats:
        """Return the items' vectors, (I, W)."""
        return self._vectors_IW

    def with_items(self, ids: Sequence[str], titles: Sequence[str], text_NW: Floats) -> Scorer:
        """Return the same ranking with new items, which nobody has taken yet.

        Args:
            ids: of the new items, N.
            titles: what they are called in a sentence.
            text_NW: their text vectors.
        """
        weights = {
            "vectors": np.concatenate([self._vectors_IW, text_NW.astype(np.float32)]),
            "popularity": np.concatenate([self._popularity_I, np.zeros(len(ids), np.float32)]),
        }
        return self._regrown(weights, Catalogue((*self._catalogue.ids, *ids)), titles)

    @abstractmethod
    def _regrown(
        self, weights: dict[str, NDArray[Any]], catalogue: Catalogue, titles: Sequence[str]
    ) -> Scorer:
        """Return the ranking of a catalogue that ends in new items of these titles."""

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the items' vectors and their popularity."""
        return {"vectors": self._vectors_IW, "popularity": self._popularity_I}

    @abstractmethod
    def _users(self, histories: Histories) -> Floats:
        """Return a vector of length 1 per history, zeros for an empty one, (B, W)."""


class HistoryText(_ContentRanking):
    """Ranks items by their text against the mean text of the history."""

    kind: ClassVar[str] = "history-text"

    def settings(self) -> dict[str, Any]:
        """Return how many events are read."""
        return {"events": self._events}

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        return cls(catalogue, weights["vectors"], weights["popularity"], settings["events"])

    def _regrown(
        self, weights: dict[str, NDArray[Any]], catalogue: Catalogue, titles: Sequence[str]
    ) -> Scorer:
        del titles
        return self.restore(self.settings(), weights, catalogue)

    def _users(self, histories: Histories) -> Floats:
        sums_BW = np.zeros((len(histories), self._vectors_IW.shape[1]), np.float32)
        newer_T = np.repeat(histories.offsets[1:], histories.lengths)
        newer_T = newer_T - np.arange(len(histories.items))
        read_T = newer_T <= self._events
        owner_T = np.repeat(np.arange(len(histories)), histories.lengths)
        np.add.at(sums_BW, owner_T[read_T], self._vectors_IW[histories.items[read_T]])
        lengths_B1 = np.linalg.norm(sums_BW, axis=1, keepdims=True)
        # The sum of nothing is zero, and stays it.
        return np.asarray(sums_BW / np.maximum(lengths_B1, np.finfo(np.float32).tiny), np.float32)


class BehaviourText(_ContentRanking):
    """Ranks items by their text against a sentence about the history.

    Args:
        catalogue, vectors, popularity: as for every ranking by text.
        names: what each item is called in a sentence, (I,).
        types: event types; the position of one is its code − 1.
        text: the encoder, and how many events are told.
        encode: with that encoder.
    """

    kind: ClassVar[str] = "behaviour-text"

    def __init__(
        self,
        catalogue: Catalogue,
        vectors: Floats,
        popularity: Floats,
        names: Sequence[str],
        types: Sequence[str],
        text: TextConfig,
        encode: Encode,
    ) -> None:
        super().__init__(catalogue, vectors, popularity, text.behaviour_events)
        self._names, self._types = tuple(names), tuple(types)
        self._text = text
        self._encode = encode

    def settings(self) -> dict[str, Any]:
        """Return how a history is told and encoded."""
        return {
            "names": list(self._names),
            "types": list(self._types),
            "text": self._text.model_dump(mode="json"),
        }

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again; the encoder is loaded when it is first asked, and nothing is cached."""
        text = TextConfig.model_validate(settings["text"])
        return cls(
            catalogue,
            weights["vectors"],
            weights["popularity"],
            settings["names"],
            settings["types"],
            text,
            _uncached(text),
        )

    def _regrown(
        self, weights: dict[str, NDArray[Any]], catalogue: Catalogue, titles: Sequence[str]
    ) -> Scorer:
        names = (*self._names, *titles)
        vectors, popularity = weights["vectors"], weights["popularity"]
        # With the same encoder, which may be loaded already.
        return BehaviourText(
            catalogue, vectors, popularity, names, self._types, self._text, self._encode
        )

    def _users(self, histories: Histories) -> Floats:
        told = sentences(histories, self._names, self._types, self._events)
        return np.asarray(self._encode(told), np.float32)


def fit_history_text(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Make `HistoryText`; only the trace of popularity is taken from before the test window."""
    scorer = HistoryText(
        dataset.catalogue,
        dataset.text,
        _popularity(dataset, fold, config),
        config.features.text.behaviour_events,
    )
    return Model(scorer, dataset.titles, config.actions, config.model.history)


def fit_behaviour_text(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Make `BehaviourText`; only the trace of popularity is taken from before the test window."""
    text, cache = config.features.text, config.paths.cache
    scorer = BehaviourText(
        dataset.catalogue,
        dataset.text,
        _popularity(dataset, fold, config),
        titles(dataset.items),
        config.actions.types,
        text,
        lambda told: encode_behaviour(told, text, cache).vectors,
    )
    return Model(scorer, dataset.titles, config.actions, config.model.history)


def _popularity(dataset: Dataset, fold: Fold, config: Config) -> Floats:
    successes = dataset.log.of_types(config.actions.successes, config.actions)
    counts = count(successes.before(fold.test_start).items, len(dataset.catalogue))
    return np.asarray(counts / max(counts.max(initial=0), 1), np.float32)


def _uncached(text: TextConfig) -> Encode:
    loaded: list[Any] = []

    def encode(told: Sequence[str]) -> Floats:
        if not loaded:
            from recommender.features.encoder import Encoder

            loaded.append(Encoder(text, Path.home() / ".cache" / "ostinato" / "encoders"))
        made = np.zeros((len(told), loaded[0].width), np.float32)
        rows = [row for row, said in enumerate(told) if said]
        if rows:
            said = [told[row] for row in rows]
            made[rows] = loaded[0].encode(tuple(map(content_hash, said)), said).vectors
        return made

    return encode
