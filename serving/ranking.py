"""From a history to the items to show: the computation behind every protocol.

Shape letters: B asks, I items of the catalogue, K items recommended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model
from recommender.features.sequences import Histories
from recommender.ranking import Ranked, rank
from recommender.scoring import ActionModel, Floats, ValueModel
from serving.ask import NOTHING, Ask, Events, Fallback
from serving.shelf import Shelf

ByType = Mapping[str, tuple[float, ...]]
"""By event type, a number for each item of a list."""


@dataclass(frozen=True)
class Found:
    """What is known of whoever asks.

    Attributes:
        events: the history, oldest first.
        fallback: why there is none.
        profile: what is known of the user besides; read only where it matters.
        read_s: seconds that the feature store was waited for.
    """

    events: Events = NOTHING
    fallback: Fallback | None = None
    profile: Mapping[str, str] | None = None
    read_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What to show, the best first.

    Attributes:
        items: item ids.
        titles: of these items.
        scores: of these items; comparable within one answer only.
        tasks: by event type, how likely the user goes at least this far with each item; None
            where the model has no such head.
        history: events that the model has read.
        dropped: events of items that the model does not know.
        fallback: why the answer was made without a history, or None.
        basis: what the order was made from: `history`; without one `social`, `profile`, `popular`
            or `trend`, or `model` where the model itself answers people without history.
        unknown: candidates that the model does not know.
        reason: why there are no items, or None.
        values: by event type, the value expected of it should it happen with each item (a rating,
            say), in the unit of the events' values; None where the model has no such head.
        value_names: by event type, what its value is called.
    """

    items: tuple[str, ...]
    titles: tuple[str, ...]
    scores: tuple[float, ...]
    tasks: ByType | None
    history: int
    dropped: int
    fallback: Fallback | None
    basis: str
    unknown: tuple[str, ...] = ()
    reason: str | None = None
    values: ByType | None = None
    value_names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """A history in terms of one model: rows of its catalogue, codes of its event types.

    Attributes:
        items, actions, times, values, surfaces: parallel, oldest first; surfaces as codes.
        dropped: events of items that the model does not know.
    """

    items: tuple[int, ...]
    actions: tuple[int, ...]
    times: tuple[int, ...]
    values: tuple[float, ...]
    surfaces: tuple[int, ...]
    dropped: int


class Ranker:
    """Answers with one model. Safe to use from several threads at once.

    Args:
        model: the loaded artifact.
        shelf: what the feature store says of its items.
        ranking: what puts items in order, instead of `recommender.ranking.rank`.
    """

    def __init__(
        self,
        model: Model,
        shelf: Shelf | None = None,
        ranking: Callable[..., Ranked] = rank,
    ) -> None:
        self.model = model
        self._shelf = shelf or Shelf()
        self._rank = ranking
        self._index = model.scorer.catalogue.index
        # Other event types (mere impressions) are not part of a history.
        actions = model.actions
        self._codes = {name: actions.code(name) for name in actions.histories}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The event types that every answer tells the chances of; none without such a head."""
        headed = isinstance(self.model.scorer, ActionModel)
        # Everybody whom an item is shown goes at least as far as the first type.
        return self.model.actions.types[1:] if headed else ()

    @property
    def valued(self) -> tuple[str, ...]:
        """The event types whose value every answer expects; none without such a head."""
        return tuple(self.value_names)

    @property
    def value_names(self) -> dict[str, str]:
        """By event type, what the value that every answer expects is called."""
        scorer = self.model.scorer
        if not isinstance(scorer, ValueModel):
            return {}
        types = zip(self.model.actions.types, scorer.value_names, strict=True)
        return {action: name for action, name in types if name is not None}

    def answer(self, asks: Sequence[Ask], found: Sequence[Found]) -> list[Answer]:
        """Rank the catalogue, or the candidates, for each ask.

        Args:
            asks: B requests.
            found: what is known of who asks, in the same order.
        """
        read, histories = self.read(asks, found)
        index = self._index
        exactly = {
            row: np.array([index[item] for item in ask.candidates if item in index], np.int64)
            for row, ask in enumerate(asks)
            if ask.candidates is not None
        }
        among = {
            row: self._shelf.among(ask.categories)
            for row, ask in enumerate(asks)
            if ask.categories is not None
        }
        ranked = self._rank(
            self.model.ranker,
            histories,
            max(ask.wanted for ask in asks),
            reads=self.model.history,
            exclude_seen=self.model.actions.exclude_seen,
            unwanted=[
                (row, index[item])
                for row, ask in enumerate(asks)
                for item in ask.exclude
                if item in index
            ],
            among=among,
            exactly=exactly,
        )
        chances_ABK = self._chances(histories, ranked.items)
        values_ABK = self._values(histories, ranked.items)
        ids, titles = self.model.scorer.catalogue.ids, self.model.titles
        answers = []
        for row, (ask, seen, known) in enumerate(zip(asks, read, found, strict=True)):
            scores_K = ranked.scores[row, : ask.wanted]
            keep_K = np.isfinite(scores_K)
            chosen = ranked.items[row, : ask.wanted][keep_K].tolist()
            place = (row, slice(ask.wanted), keep_K)
            answers.append(
                Answer(
                    tuple(ids[item] for item in chosen),
                    tuple(titles[item] or "" for item in chosen),
                    tuple(scores_K[keep_K].tolist()),
                    _of(chances_ABK, *place),
                    min(len(seen.items), self.model.history),
                    seen.dropped,
                    known.fallback or (None if seen.items else Fallback.NO_HISTORY),
                    "history" if seen.items else self.model.basis_of(known.profile),
                    tuple(item for item in ask.candidates or () if item not in index),
                    None if chosen else self._why_nothing(ask, among.get(row)),
                    _of(values_ABK, *place),
                    self.value_names,
                )
            )
        return answers

    def read(self, asks: Sequence[Ask], found: Sequence[Found]) -> tuple[list[Read], Histories]:
        """Return what the model reads of each history, and all of them as one batch.

        Args:
            asks: B requests.
            found: what is known of who asks, in the same order.
        """
        now = [time.time_ns() // 1_000_000 if ask.time is None else ask.time for ask in asks]
        read = [self._read(known.events, at) for known, at in zip(found, now, strict=True)]
        histories = Histories.of(
            [(r.items, r.actions, r.times) for r in read], now, [r.values for r in read]
        )
        histories = replace(histories, people=tuple(known.profile for known in found))
        if not self.model.reads_surfaces:
            return read, histories
        place = self.model.actions.surface_code
        return read, replace(
            histories,
            surfaces=np.array([code for each in read for code in each.surfaces], np.int8),
            surface=np.array([place(ask.surface) for ask in asks], np.int8),
        )

    def warm_up(self) -> None:
        """Answer an empty and a full history, so that the first person doesn't wait for it."""
        types = list(self._codes)
        ids = self.model.scorer.catalogue.ids
        count = min(self.model.history, len(ids))
        full = Events(ids[:count], [types[0]] * count, range(count), [float("nan")] * count)
        ask = Ask(history=[], k=10, time=count)
        self.answer([ask, ask], [Found(), Found(full)])

    def _chances(self, histories: Histories, items_BK: NDArray[np.int64]) -> dict[str, Floats]:
        """Return by event type how likely people go at least this far, (B, K)."""
        scorer = self.model.scorer
        if not isinstance(scorer, ActionModel) or not self.tasks:
            return {}
        each_BKA = scorer.action_probabilities(histories.recent(self.model.history), items_BK)
        # Types are in the order of growing commitment: who buys has clicked, too.
        least_BKA = np.cumsum(each_BKA[..., ::-1], axis=-1)[..., ::-1].clip(0, 1)
        return {name: least_BKA[..., place + 1] for place, name in enumerate(self.tasks)}

    def _values(self, histories: Histories, items_BK: NDArray[np.int64]) -> dict[str, Floats]:
        """Return by event type the value expected of it, (B, K)."""
        scorer, valued = self.model.scorer, self.valued
        if not valued or not isinstance(scorer, ValueModel):
            return {}
        each_BKA = scorer.expected_values(histories.recent(self.model.history), items_BK)
        types = self.model.actions.types
        return {name: each_BKA[..., types.index(name)] for name in valued}

    def _why_nothing(self, ask: Ask, among: NDArray[np.int64] | None) -> str:
        if ask.candidates is not None:
            return "the model knows none of the candidates"
        if among is None:
            return "everything is excluded or was taken already"
        if not self._shelf.read:
            return "the categories of items could not be read from the feature store yet"
        if not len(among):
            return f"no item is in any of the categories {list(ask.categories or ())}"
        return "everything in these categories is excluded or was taken already"

    def _read(self, events: Events, now: int) -> Read:
        """Translate the events strictly before `now`."""
        kept: list[tuple[int, int, int, float, int]] = []
        dropped = 0
        place = self.model.actions.surface_code
        surfaces = events.surfaces or [""] * len(events.items)
        columns = (events.items, events.actions, events.times, events.values, surfaces)
        for item, action, moment, value, surface in zip(*columns, strict=True):
            code, row = self._codes.get(action), self._index.get(item)
            if code is None or moment >= now:
                continue
            if row is None:
                dropped += 1
            else:
                kept.append((row, code, int(moment), float(value), place(surface)))
        parts = zip(*kept, strict=True) if kept else ((), (), (), (), ())
        items, actions, times, values, codes = parts
        return Read(items, actions, times, values, codes, dropped)


def _of(
    numbers_ABK: Mapping[str, Floats], row: int, wanted: slice, keep_K: NDArray[np.bool_]
) -> dict[str, tuple[float, ...]] | None:
    """Return what one answer tells of its items, by event type; None where nothing is known."""
    told = {name: tuple(each[row, wanted][keep_K].tolist()) for name, each in numbers_ABK.items()}
    return told or None
