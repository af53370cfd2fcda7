"""Publishing features that keep their promises, where nobody writes a report about them."""

from __future__ import annotations

import logging

from feature_repo.locations import Lane
from feature_repo.store import PublishReport, publish
from recommender.config import Config
from recommender.features.expectations.sound import require_sound
from recommender.tables import Tables

logger = logging.getLogger(__name__)


def publish_sound(
    config: Config, tables: Tables, as_of_ms: int | None, lane: Lane, data_version: str
) -> PublishReport:
    """Publish a lane if its features break no critical expectation.

    Args:
        config: of the data set.
        tables: validated.
        as_of_ms: UTC milliseconds; None: just after the last event, streamed ones included.
        lane: `live` or `rehearsal`.
        data_version: of the tables.

    Raises:
        DataQualityError: an expectation is broken; nothing was published.
        FeatureError: as for `feature_repo.store.publish`.
        StorageError: a snapshot can't be written.
    """
    told = publish(
        config,
        tables,
        as_of_ms,
        lane,
        data_version=data_version,
        inspect=lambda built: require_sound(built, config, data_version),
    )
    logger.info("published %s users' features to %s", told.users, told.project)
    return told
