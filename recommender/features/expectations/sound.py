"""Refusing features that break a promise, where nobody writes a report about them."""

from __future__ import annotations

from datetime import UTC, datetime

from recommender.config import Config
from recommender.features.expectations.judge import judge
from recommender.features.snapshots import KEYS, Snapshots
from recommender.privacy import pseudonyms


def require_sound(built: Snapshots, config: Config, data_version: str) -> None:
    """Make sure that snapshots may be published, without comparing them with an earlier run.

    The live features are as of another moment than the rehearsal's, on which runs are compared.

    Raises:
        DataQualityError: a critical expectation is broken; nothing should be published.
    """
    judge(
        built.tables,
        KEYS,
        built.as_of,
        config,
        data_version=data_version,
        now=datetime.now(UTC),
        against=None,
        pseudonym=pseudonyms(config.paths.keys).of,
    ).sound()
