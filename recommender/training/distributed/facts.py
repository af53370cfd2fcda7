"""What every process must know of the whole log: which items are known, and how popular they were.

Made by one process, which looks at the lanes one after another and keeps some bytes an event; the
others are told.

Shape letters: E events, I items, X slices of time, F lengths of memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.features.sequences import EventLog, Ints
from recommender.training.demand import log_demand
from recommender.training.examples import MEMORIES, Examples, latest_windows, slice_starts
from recommender.training.popularity import log_popularity


@dataclass(frozen=True)
class Facts:
    """What `Examples` says of items, for the whole log.

    Attributes:
        known: whether an item has a history event before the cut, (I,) bool.
        moments: at which slices of time begin, UTC milliseconds, (X,).
        popularity: log popularity of each item at each moment, (X, I, F) float32.
        latest: the same at the cut, (I, F) float32.
    """

    known: NDArray[np.bool_]
    moments: Ints
    popularity: NDArray[np.float32]
    latest: NDArray[np.float32]

    @classmethod
    def build(cls, logs: Iterable[EventLog], cut: int, table: pa.Table, config: Config) -> Facts:
        """Go through the log, a part after the other.

        Args:
            logs: the parts.
            cut: nothing at or after this moment (ms) is read.
            table: the canonical item table in catalogue order.
            config: the whole tree.
        """
        actions, training, limit = config.actions, config.training, config.model.history
        items, slices = table.num_rows, training.popularity_slices
        known_I = np.zeros(items, bool)
        moments_of, times_of, items_of, everything = [], [], [], []
        for log in logs:
            past = log.before(cut)
            history = past.of_types(actions.histories, actions)
            known_I |= np.bincount(history.items, minlength=items) > 0
            if config.model.demand:
                everything.append((history.items, history.times, history.actions))
            successes = history.of_types(actions.successes, actions)
            if training.windows == "latest":
                past = latest_windows(past, history, limit)
                history = past.of_types(actions.histories, actions)
            moments_of.append(history.times)
            times_of.append(successes.times)
            items_of.append(successes.items)
        moments_X = slice_starts(np.concatenate(moments_of), slices)
        times_E = np.concatenate(times_of)
        kinds_E = np.ones(len(times_E), np.int8)
        popularity = log_popularity(
            _bare(np.concatenate(items_of), times_E, kinds_E),
            np.append(moments_X, cut),
            items,
            MEMORIES,
        )
        if config.model.demand:
            log = _bare(*(np.concatenate(column) for column in zip(*everything, strict=True)))
            read = np.append(moments_X, cut) if slices > 1 else np.array([cut, cut])
            demand = log_demand(log, table, config, read)
            popularity = np.concatenate([popularity, demand], axis=2)
        kept = popularity[:-1] if slices > 1 else popularity[-1:]
        return cls(known_I, moments_X, kept, popularity[-1])

    def told_to(self, examples: Examples) -> Examples:
        """Return examples of a part of the log that know what these facts say."""
        return replace(
            examples,
            known=self.known,
            popularity=self.popularity,
            latest=self.latest,
            slice=np.searchsorted(self.moments[1:], examples.now, side="right"),
        )


def _bare(items_E: NDArray[np.int32], times_E: Ints, kinds_E: NDArray[np.int8]) -> EventLog:
    """Return a log of which nothing but items, times and kinds is read."""
    nothing = np.broadcast_to(np.float32(np.nan), len(items_E))
    return EventLog(("",), np.array([0, len(items_E)]), items_E, kinds_E, times_E, nothing)
