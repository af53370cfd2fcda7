"""Every item's demand as the trend forecasts tell it, strictly before each moment.

Shape letters: X moments, I items, F features.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.features.sequences import EventLog, Ints
from recommender.features.trends import item_outlook
from recommender.training.popularity import SMOOTHING

FEATURES = 2


def log_demand(
    log: EventLog, items: pa.Table, config: Config, moments: Ints
) -> NDArray[np.float32]:
    """Return log(x + SMOOTHING) of the level and of the forecast of each item, (X, I, F = 2).

    Both are demand per period; the forecast is of the period that is running at the moment, made
    of the periods that had ended by then (`recommender.features.trends`). The difference of the two
    is how much faster an item is going than of late; the model weighs them apart. An item that
    nobody has taken has the floor of both, as it has of popularity.

    Args:
        log: at least of the events that make up histories.
        items: the canonical item table in catalogue order.
        config: what a success is, and how trends are found.
        moments: UTC milliseconds; events at or after a moment leave no trace in its row.
    """
    made = np.empty((len(moments), items.num_rows, FEATURES), np.float32)
    for row, moment in enumerate(moments.tolist()):
        found = item_outlook(log, items, config, moment, 1)
        told_IF = np.stack([found.level, found.ahead[:, 0]], axis=1)
        made[row] = np.log(np.maximum(told_IF, 0) + SMOOTHING)
    return made
