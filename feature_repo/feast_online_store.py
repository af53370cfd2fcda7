"""Feast's online stores, in which pushed events become part of a user's sequence.

Named in the profiles' YAML files. Rows of the view `user_event` are not stored: they land offline
and are applied to `user_sequence`, as by every other consumer (`feature_repo.stream`). Rows of
other views go through our own writers, so that whatever Feast writes (`/push`,
`/write-to-online-store`, `feast materialize` of views that our engine leaves to it) never takes
the place of a newer row.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from feast import FeatureView
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig

from feature_repo.freshness import Arrivals, place_of
from feature_repo.merging import STREAMED, merge_of
from feature_repo.profile import Profile
from feature_repo.stores.online_store import Merge, OnlineStore
from feature_repo.stream.apply import EventSink
from feature_repo.stream.feast_rows import (
    events_of,
    is_plain,
    landing_at,
    snapshot_rows,
    workspace_of,
)
from feature_repo.stream.rules import TAG, EventRules
from recommender.errors import FeatureError
from recommender.forgetting.suppression import Suppressions

USER_EVENT = "user_event"

_Rows = Sequence[Any]
_Progress = Callable[[int], Any] | None


class EventSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    """Feast's settings of its SQLite store, and one of ours."""

    type: str = "feature_repo.feast_online_store.EventSqliteOnlineStore"  # type: ignore[assignment]

    features: str = ""
    """The workspace's folder of stores: who asked to be forgotten is known beside it."""


class EventRedisOnlineStoreConfig(RedisOnlineStoreConfig):
    """Feast's settings of its Redis store, and one of ours."""

    type: str = "feature_repo.feast_online_store.EventRedisOnlineStore"  # type: ignore[assignment]

    features: str = ""
    """The workspace's folder of stores: who asked to be forgotten is known beside it."""


class EventSqliteOnlineStore(SqliteOnlineStore):
    """Feast's SQLite store; arguments of every method are those of Feast's `OnlineStore`."""

    def online_write_batch(
        self, config: Any, table: FeatureView, data: _Rows, progress: _Progress
    ) -> None:
        """Apply pushed events, or write rows unless newer ones are there."""
        if not _written(self, config, table, data, self._open):
            super().online_write_batch(config, table, list(data), None)
        _tell(progress, data)

    def _open(self, config: Any) -> OnlineStore:
        from feature_repo.stores.sqlite import SqliteStore

        return SqliteStore(Path(self._get_db_path(config)), config.project)


class EventRedisOnlineStore(RedisOnlineStore):
    """Feast's Redis store; arguments of every method are those of Feast's `OnlineStore`."""

    def online_write_batch(
        self, config: Any, table: FeatureView, data: _Rows, progress: _Progress
    ) -> None:
        """Apply pushed events, or write rows unless newer ones are there."""
        if not _written(self, config, table, data, self._open):
            super().online_write_batch(config, table, list(data), None)
        _tell(progress, data)

    async def online_write_batch_async(
        self, config: Any, table: FeatureView, data: _Rows, progress: _Progress
    ) -> None:
        """Do the same in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def _open(self, config: Any) -> OnlineStore:
        from feature_repo.stores.redis import RedisStore

        return RedisStore(config.online_store.connection_string, config.project)


_OPENING = threading.Lock()


def _written(
    owner: Any, config: Any, view: Any, data: _Rows, opened: Callable[[Any], OnlineStore]
) -> bool:
    """Write rows our way; return whether that was possible.

    Raises:
        FeatureError: an event is wrong, or a store can't be written.
        StorageError: the events can't land.
    """
    if view.name == USER_EVENT:
        name = f"sink of {config.project}: {view.tags.get(TAG)}"
        sink: EventSink = _kept(owner, name, lambda: _sink(config, view, opened(config)))
        sink.apply(events_of(data, sink.rules, sink.clock()))
        return True
    if not is_plain(view):
        return False
    store: OnlineStore = _kept(owner, f"store of {config.project}", lambda: opened(config))
    merge = _kept(owner, f"merge of {config.project}: {view.name}", lambda: _merge(config, view))
    store.write(view.name, view.join_keys[0], [snapshot_rows(view, data)], merge)
    return True


def _sink(config: Any, view: Any, store: OnlineStore) -> EventSink:
    rules = EventRules.from_tags(view.tags)
    landing = landing_at(view.batch_source.path)
    if landing is None:
        raise FeatureError(
            f"the events of {config.project} would land at {view.batch_source.path}, which nobody "
            "reads",
            "apply the definitions of this version again",
        )
    paths = workspace_of(config)
    if paths is None:
        return EventSink(store, landing, rules)
    suppressed = Suppressions(paths).is_suppressed
    connection = getattr(config.online_store, "connection_string", None)
    profile = Profile("production", redis=connection) if connection else Profile("embedded")
    arrivals = Arrivals(place_of(paths, config.project, profile))
    return EventSink(store, landing, rules, arrivals=arrivals, suppressed=suppressed)


def _merge(config: Any, view: Any) -> Merge | None:
    """Return what keeps streamed events in a row that somebody writes as a whole."""
    if view.name != STREAMED:
        return None
    from feast import FeatureStore
    from feast.errors import FeatureViewNotFoundException

    try:
        registry = FeatureStore(config=config).registry
        tags = registry.get_any_feature_view(USER_EVENT, config.project).tags
    except FeatureViewNotFoundException:
        return None
    return merge_of(view.name, EventRules.from_tags(tags).limit) if TAG in tags else None


def _kept(owner: Any, name: str, make: Callable[[], Any]) -> Any:
    """Return what was made once for one Feast store; the threads of a server share it."""
    with _OPENING:
        held: dict[str, Any] = owner.__dict__.setdefault("_ostinato", {})
        if name not in held:
            held[name] = make()
        return held[name]


def _tell(progress: _Progress, data: _Rows) -> None:
    if progress:
        progress(len(data))
