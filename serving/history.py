"""Histories from the online feature store, in the predictor's terms."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from feature_repo.online import OnlineFeatures
from recommender.errors import FeatureError
from recommender.feature_services import UNIFIED_V1
from recommender.followed_took import FOLLOWED_TOOK, attribute_of
from recommender.workspace import Workspace
from serving.ask import Events

logger = logging.getLogger("ostinato.history")


class StoreHistories:
    """Reads histories of one Feast project; safe to share between threads.

    Which store that is, the environment says (`feature_repo/profile.py`). One that isn't there
    when the server starts is looked for again with every read, and one that goes away in between
    is found again by itself: whoever asks meanwhile is answered without a history and told so.

    Args:
        paths: the workspace; holds the online store where the profile is embedded.
        project: the Feast project: live features, or the rehearsal's.
        wait_s: longest wait for a connection and for an answer; a thread is not kept longer.

    Raises:
        ConfigError: the environment names no whole profile; no waiting mends that.
    """

    feature_service = UNIFIED_V1
    surfaces: bool
    """Whether to read where events happened: said by whoever loads a model that reads it."""
    follows: bool
    """Whether a profile holds what those took whom somebody follows: said likewise."""

    def __init__(self, paths: Workspace, project: str, wait_s: float = 5.0) -> None:
        self._paths = paths
        self._project = project
        self._wait_s = wait_s
        self._features: OnlineFeatures | None = None
        self.surfaces = False
        self.follows = False
        try:
            self._open()
        except FeatureError as error:
            logger.warning("%s; answering without histories until it is there", error.message)

    def read(self, user_id: str) -> Events | None:
        """Return a user's history, oldest first; None if the user is not known.

        Raises:
            FeatureError: the store can't be read; a `StoreDownError` where it does not answer.
        """
        found = self._open().user_history(user_id, surfaces=self.surfaces)
        if found is None:
            return None
        return Events(
            found.item_ids,
            found.actions,
            found.times,
            found.values,
            found.as_of_ms,
            found.surfaces,
        )

    def profile(self, user_id: str) -> Mapping[str, str] | None:
        """Return what is known of a user besides events; None for an unknown one.

        Raises:
            FeatureError: the store can't be read.
        """
        known = self._open().user_attributes(user_id)
        took = self._open().followed_took(user_id) if self.follows else None
        if took is None:
            return known
        return {**(known or {}), FOLLOWED_TOOK: attribute_of(took)}

    def _open(self) -> OnlineFeatures:
        # Two threads may both open it; one of the two is dropped, which does no harm.
        if self._features is None:
            self._features = OnlineFeatures(self._paths, self._project, wait_s=self._wait_s)
        return self._features
