"""The same ranking for everybody: what will be taken most often, by the forecast of its demand.

It answers whether forecasts help the popularity baseline: `recent-popularity` looks back a week,
this looks ahead. Its figures are reported; no rule of the gate asks for it unless it is configured.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity, count
from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.features.trends import item_outlook
from recommender.split import Fold

# What a tie of forecasts is broken by is this much smaller than a unit of demand.
_TIES = 1e-3


class TrendPopularity(Popularity):
    """Ranks by the demand that is forecast for the periods after a cut."""

    kind: ClassVar[str] = "trend-popularity"

    @classmethod
    def ahead(cls, log: EventLog, items: pa.Table, config: Config, cut: int) -> Self:
        """Forecast.

        Args:
            log: events of all types.
            items: the canonical item table in catalogue order.
            config: what a success is; how demand is forecast, and how far ahead.
            cut: only events strictly before this moment (ms) are read.
        """
        horizon = config.features.trends.periods_ahead
        found = item_outlook(log, items, config, cut, horizon)
        known = log.of_types(config.actions.successes, config.actions).before(cut)
        ever = count(known.items, items.num_rows)
        # Where nothing at all is expected, rank by the level and by what was taken ever.
        ties = found.level / (1 + found.level.max(initial=0)) + ever / (1 + ever.max(initial=0))
        scores = found.ahead.sum(axis=1) + _TIES * ties
        return cls(Catalogue(tuple(items["item_id"].to_pylist())), scores.astype(np.float32))


def fit_trend_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand from everything before the fold's test window."""
    scorer = TrendPopularity.ahead(dataset.log, dataset.items, config, fold.test_start)
    return Model(scorer, dataset.titles, config.actions, config.model.history)
