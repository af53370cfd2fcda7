"""The rivals by name: how each is fitted on what lies before a fold's test window."""

from __future__ import annotations

from collections.abc import Callable

from recommender.artifact import Model
from recommender.baselines.content import fit_behaviour_text, fit_history_text
from recommender.baselines.item_knn import fit_item_knn
from recommender.baselines.popularity import fit_popularity, fit_recent_popularity
from recommender.baselines.trend_popularity import fit_trend_popularity
from recommender.config import Config
from recommender.config.evaluation import Rival
from recommender.features.dataset import Dataset
from recommender.split import Fold

Fit = Callable[[Dataset, Fold, Config], Model]

_FITS: dict[Rival, Fit] = {
    "popularity": fit_popularity,
    "recent-popularity": fit_recent_popularity,
    "trend-popularity": fit_trend_popularity,
    "item-knn": fit_item_knn,
    "history-text": fit_history_text,
    "behaviour-text": fit_behaviour_text,
}


def names() -> tuple[str, ...]:
    """Return what the rivals are called."""
    return tuple(_FITS)


def fit(rival: Rival, dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Fit a rival on everything before the fold's test window.

    That includes the validation window, which a trained candidate only stops early on: the
    comparison leans towards the rivals.
    """
    return _FITS[rival](dataset, fold, config)
