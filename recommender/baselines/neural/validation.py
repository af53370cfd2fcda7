"""On what the number of epochs is searched for."""

from __future__ import annotations

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.split import Fold
from recommender.training.validation import Validation


def validation_of(dataset: Dataset, fold: Fold, config: Config) -> Validation:
    """Return the requests of a fold's validation window, as the unified model is asked them."""
    return Validation.build(
        dataset.log,
        fold.validation_start,
        fold.test_start,
        len(dataset.catalogue),
        config.actions,
        config.model.history,
        config.evaluation.requests_per_user,
        config.training.validation_users,
    )
