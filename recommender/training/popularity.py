"""How popular every item was at a moment, over several lengths of memory.

Shape letters: E events, I items, F lengths of memory, X moments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import EventLog, Ints

SMOOTHING = 0.5
"""Added to every count: what an item without events has, and so the floor of cold items."""


def log_popularity(
    log: EventLog, moments: Ints, size: int, memories: tuple[float | None, ...]
) -> NDArray[np.float32]:
    """Return log(count + SMOOTHING) of each item strictly before each moment, (X, I, F).

    Args:
        log: the events that count.
        moments: ascending, UTC milliseconds, (X,).
        size: I.
        memories: half-lives as shares of the events before the last moment; a count forgets half
            of an event while that many others happen. None: nothing is forgotten.
    """
    order = np.argsort(log.times, kind="stable")
    items_E = log.items[order]
    before_X = np.searchsorted(log.times[order], moments, side="left")
    # A catalogue of millions, at many moments: no more than one column is held beside the answer.
    counts = np.empty((len(moments), size, len(memories)), np.float32)
    for feature, share in enumerate(memories):
        half_life = np.inf if share is None else max(1.0, share * before_X[-1])
        start, count_I = 0, np.zeros(size)
        for moment, stop in enumerate(before_X):
            ages = stop - np.arange(start, stop)
            fresh_I = np.bincount(items_E[start:stop], 0.5 ** (ages / half_life), size)
            count_I = count_I * 0.5 ** ((stop - start) / half_life) + fresh_I
            counts[moment, :, feature] = np.log(count_I + SMOOTHING)
            start = stop
    return counts
