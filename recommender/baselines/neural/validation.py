"""On what the number of epochs is searched for."""

from __future__ import annotations

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.split import Fold
from recommender.training.validation import Validation


def validation_of(dataset: Dataset, fold: Fold, config: Config) -> Validation:
    """Return the requests of a fold's validation window, as the unified model is asked them.

    What is known of people comes with them, as in training and in the test.
    """
    return Validation.build(
        with_people(dataset.log, dataset.attributes),
        fold.validation_start,
        fold.test_start,
        len(dataset.catalogue),
        config.actions,
        config.model.history,
        config.evaluation.requests_per_user,
        config.training.validation_users,
    )
