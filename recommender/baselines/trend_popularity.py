"""The same ranking for everybody: what will be taken most often, by the forecast of its demand.

`trend-popularity` forecasts as `features.trends` says; the others each by one method of Box and
Jenkins, for categories and for the items of the head. It answers whether forecasts help the
popularity baseline: `recent-popularity` looks back a week, this looks ahead. Its figures are
reported; no rule of the gate asks for it unless it is configured.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity, count
from recommender.config import Config
from recommender.config.trends import SeriesMethod
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.features.trends import item_outlook
from recommender.split import Fold

# What a tie of forecasts is broken by is this much smaller than a unit of demand.
_TIES = 1e-3


class TrendPopularity(Popularity):
    """Ranks by the demand that is forecast for the periods after a cut."""

    kind: ClassVar[str] = "trend-popularity"

    method: ClassVar[SeriesMethod | None] = None
    """Of categories and items; None: as configured."""

    @classmethod
    def ahead(cls, log: EventLog, items: pa.Table, config: Config, cut: int) -> Self:
        """Forecast.

        Args:
            log: events of all types.
            items: the canonical item table in catalogue order.
            config: what a success is; how demand is forecast, and how far ahead.
            cut: only events strictly before this moment (ms) are read.
        """
        if cls.method is not None:
            config = _by(cls.method, config)
        horizon = config.features.trends.periods_ahead
        found = item_outlook(log, items, config, cut, horizon)
        known = log.of_types(config.actions.successes, config.actions).before(cut)
        ever = count(known.items, items.num_rows)
        # Where nothing at all is expected, rank by the level and by what was taken ever.
        ties = found.level / (1 + found.level.max(initial=0)) + ever / (1 + ever.max(initial=0))
        scores = found.ahead.sum(axis=1) + _TIES * ties
        return cls(Catalogue(tuple(items["item_id"].to_pylist())), scores.astype(np.float32))


class ARPopularity(TrendPopularity):
    """Ranks by what an autoregression on the last periods forecasts."""

    kind: ClassVar[str] = "ar-popularity"
    method: ClassVar[SeriesMethod | None] = "ar"


class MAPopularity(TrendPopularity):
    """Ranks by what a moving average of the last errors forecasts."""

    kind: ClassVar[str] = "ma-popularity"
    method: ClassVar[SeriesMethod | None] = "ma"


class ARMAPopularity(TrendPopularity):
    """Ranks by what both together forecast."""

    kind: ClassVar[str] = "arma-popularity"
    method: ClassVar[SeriesMethod | None] = "arma"


class SARIMAPopularity(TrendPopularity):
    """Ranks by what both together forecast of differences, from period to period and season."""

    kind: ClassVar[str] = "sarima-popularity"
    method: ClassVar[SeriesMethod | None] = "sarima"


def fit_trend_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand from everything before the fold's test window."""
    return _fit(TrendPopularity, dataset, fold, config)


def fit_ar_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand by AR from everything before the fold's test window."""
    return _fit(ARPopularity, dataset, fold, config)


def fit_ma_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand by MA from everything before the fold's test window."""
    return _fit(MAPopularity, dataset, fold, config)


def fit_arma_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand by ARMA from everything before the fold's test window."""
    return _fit(ARMAPopularity, dataset, fold, config)


def fit_sarima_popularity(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Forecast demand by SARIMA from everything before the fold's test window."""
    return _fit(SARIMAPopularity, dataset, fold, config)


def _fit(kind: type[TrendPopularity], dataset: Dataset, fold: Fold, config: Config) -> Model:
    scorer = kind.ahead(dataset.log, dataset.items, config, fold.test_start)
    return Model(scorer, dataset.titles, config.actions, config.model.history)


def _by(method: SeriesMethod, config: Config) -> Config:
    """Return the configuration with one method for everything that is forecast by a model."""
    trends = config.features.trends.model_copy(
        update={"category_method": method, "item_method": method}
    )
    features = config.features.model_copy(update={"trends": trends})
    return config.model_copy(update={"features": features})
