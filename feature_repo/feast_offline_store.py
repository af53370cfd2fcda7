"""Feast's DuckDB offline store, able to read snapshots on S3 without downloading anything.

Feast hands `s3://` paths to DuckDB, which needs its extension `httpfs` for them and fetches that
from the network: not where a cluster has no way out. Here Arrow reads them instead, lazily (only
the columns and rows that are asked for), with credentials, region and endpoint from the usual AWS
variables. Local files go DuckDB's own way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from feast.infra.offline_stores.duckdb import (
    DuckDBOfflineStore,
    DuckDBOfflineStoreConfig,
    _read_data_source,
    _write_data_source,
)
from feast.infra.offline_stores.ibis import (
    get_historical_features_ibis,
    pull_all_from_table_or_query_ibis,
    pull_latest_from_table_or_query_ibis,
)
from feast.infra.offline_stores.offline_store import RetrievalJob

from feature_repo.stream.apply import now_ms
from feature_repo.stream.feast_rows import events_of_table, landing_at, workspace_of
from feature_repo.stream.rules import EventRules
from recommender.forgetting.suppression import Suppressions
from recommender.storage import is_s3
from recommender.tables import EVENTS

_EVERY_FILE = "/*.parquet"


class SnapshotOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Named in the profiles' YAML files; no settings of its own."""

    type: str = "feature_repo.feast_offline_store.SnapshotOfflineStore"


class SnapshotOfflineStore(DuckDBOfflineStore):
    """Parquet snapshots in a folder or on S3, queried by DuckDB.

    The arguments of every method are those of Feast's `OfflineStore`, by name.
    """

    @staticmethod
    def pull_latest_from_table_or_query(  # type: ignore[override]
        config: Any, **asked: Any
    ) -> RetrievalJob:
        """Return the newest row per entity of a span of time; see Feast's `OfflineStore`."""
        return pull_latest_from_table_or_query_ibis(config=config, **asked, **_reading(config))

    @staticmethod
    def pull_all_from_table_or_query(  # type: ignore[override]
        config: Any, **asked: Any
    ) -> RetrievalJob:
        """Return every row of a span of time; see Feast's `OfflineStore`."""
        return pull_all_from_table_or_query_ibis(config=config, **asked, **_reading(config))

    @staticmethod
    def get_historical_features(*given: Any, **asked: Any) -> RetrievalJob:
        """Return features as of the moments of an entity table; see Feast's `OfflineStore`."""
        names = ("config", "feature_views", "feature_refs", "entity_df", "registry", "project")
        asked |= dict(zip((*names, "full_feature_names"), given, strict=False))
        return get_historical_features_ibis(**asked, **_reading(asked["config"]))

    def get_table_column_names_and_types_from_data_source(
        self, config: Any, data_source: Any
    ) -> Iterable[tuple[str, str]]:
        """Return a source's columns; those of events are the canonical ones."""
        if landing_at(getattr(data_source, "path", "")) is not None:
            return [(field.name, str(field.type)) for field in EVENTS]
        told: Iterable[tuple[str, str]] = super().get_table_column_names_and_types_from_data_source(
            config, data_source
        )
        return told

    @staticmethod
    def offline_write_batch(config: Any, feature_view: Any, table: Any, progress: Any) -> None:
        """Land pushed events; other rows as Feast does."""
        landing = landing_at(getattr(feature_view.batch_source, "path", ""))
        if landing is None:
            DuckDBOfflineStore.offline_write_batch(config, feature_view, table, progress)
            return
        rules, now = EventRules.from_tags(feature_view.tags), now_ms()
        events = events_of_table(table, rules, now)
        if (paths := workspace_of(config)) is not None:
            suppressed = Suppressions(paths)
            events = [event for event in events if event.user_id not in suppressed]
        landing.land(events, now)
        if progress:
            progress(table.num_rows)


def _reading(config: Any) -> dict[str, Any]:
    return {
        "data_source_reader": _read,
        "data_source_writer": _write_data_source,
        "staging_location": config.offline_store.staging_location,
        "staging_location_endpoint_override": (
            config.offline_store.staging_location_endpoint_override
        ),
    }


def _read(source: Any, repo_path: str) -> Any:
    path = getattr(source, "path", "")
    if (landing := landing_at(path)) is not None:
        landing.prepare()  # nothing may have landed yet, and DuckDB wants a file
    if not is_s3(path):
        return _read_data_source(source, repo_path)
    import ibis
    import pyarrow.dataset as ds
    from pyarrow.fs import FileSystem

    files, place = FileSystem.from_uri(path.removesuffix(_EVERY_FILE))
    return ibis.memtable(ds.dataset(place, filesystem=files, format="parquet"))
