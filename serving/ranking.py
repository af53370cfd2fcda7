"""From a history to the items to show: the computation behind every protocol.

Shape letters: B asks, I items of the catalogue, K items recommended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recommender.artifact import Model
from recommender.features.sequences import Histories
from recommender.ranking import rank
from serving.ask import NOTHING, Ask, Events, Fallback


@dataclass(frozen=True)
class Found:
    """What is known of whoever asks.

    Attributes:
        events: the history, oldest first.
        fallback: why there is none.
    """

    events: Events = NOTHING
    fallback: Fallback | None = None


@dataclass(frozen=True)
class Answer:
    """What to show, the best first.

    Attributes:
        items: item ids.
        titles: of these items.
        scores: of these items; comparable within one answer only.
        history: events that the model has read.
        dropped: events of items that the model does not know.
        fallback: why the answer was made without a history, or None.
    """

    items: tuple[str, ...]
    titles: tuple[str, ...]
    scores: tuple[float, ...]
    history: int
    dropped: int
    fallback: Fallback | None


@dataclass(frozen=True)
class _Read:
    """A history in terms of one model: rows of its catalogue, codes of its event types."""

    items: tuple[int, ...]
    actions: tuple[int, ...]
    times: tuple[int, ...]
    values: tuple[float, ...]
    dropped: int


class Ranker:
    """Answers with one model. Safe to use from several threads at once.

    Args:
        model: the loaded artifact.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._index = model.scorer.catalogue.index
        # Other event types (mere impressions) are not part of a history.
        actions = model.actions
        self._codes = {name: actions.code(name) for name in actions.histories}

    def answer(self, asks: Sequence[Ask], found: Sequence[Found]) -> list[Answer]:
        """Rank the catalogue for each ask.

        Args:
            asks: B requests.
            found: what is known of who asks, in the same order.
        """
        now = [time.time_ns() // 1_000_000 if ask.time is None else ask.time for ask in asks]
        read = [self._read(known.events, at) for known, at in zip(found, now, strict=True)]
        ranked = rank(
            self._model.scorer,
            _histories(read, now),
            max(ask.k for ask in asks),
            reads=self._model.history,
            exclude_seen=self._model.actions.exclude_seen,
            unwanted=[
                (row, self._index[item])
                for row, ask in enumerate(asks)
                for item in ask.exclude
                if item in self._index
            ],
        )
        items_BK, best_BK = ranked.items, ranked.scores
        ids, titles = self._model.scorer.catalogue.ids, self._model.titles
        answers = []
        for row, (ask, seen, known) in enumerate(zip(asks, read, found, strict=True)):
            keep = np.isfinite(best_BK[row, : ask.k])
            chosen = items_BK[row, : ask.k][keep].tolist()
            answers.append(
                Answer(
                    tuple(ids[item] for item in chosen),
                    tuple(titles[item] or "" for item in chosen),
                    tuple(best_BK[row, : ask.k][keep].tolist()),
                    min(len(seen.items), self._model.history),
                    seen.dropped,
                    known.fallback or (None if seen.items else Fallback.NO_HISTORY),
                )
            )
        return answers

    def warm_up(self) -> None:
        """Answer an empty and a full history, so that the first person doesn't wait for it."""
        types = list(self._codes)
        ids = self._model.scorer.catalogue.ids
        count = min(self._model.history, len(ids))
        full = Events(ids[:count], [types[0]] * count, range(count), [float("nan")] * count)
        ask = Ask(history=[], k=10, time=count)
        self.answer([ask, ask], [Found(), Found(full)])

    def _read(self, events: Events, now: int) -> _Read:
        """Translate the events strictly before `now`."""
        kept: list[tuple[int, int, int, float]] = []
        dropped = 0
        columns = (events.items, events.actions, events.times, events.values)
        for item, action, moment, value in zip(*columns, strict=True):
            code, row = self._codes.get(action), self._index.get(item)
            if code is None or moment >= now:
                continue
            if row is None:
                dropped += 1
            else:
                kept.append((row, code, int(moment), float(value)))
        items, actions, times, values = zip(*kept, strict=True) if kept else ((), (), (), ())
        return _Read(items, actions, times, values, dropped)


def _histories(read: Sequence[_Read], now: Sequence[int]) -> Histories:
    return Histories.of(
        [(r.items, r.actions, r.times) for r in read], now, [r.values for r in read]
    )
