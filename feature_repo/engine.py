"""How `feast materialize` brings snapshots into the online store: Arrow batches, no Python rows.

Named in the profiles' YAML as `batch_engine`, so that Feast's commands and our publications write
the same way. Snapshots are read in batches, and the store lets the newer row win, so neither the
snapshot nor its newest rows are ever held in memory as a whole.

A second run of a materialization that was killed finishes it: rows that arrived are written once
more. What Feast records of it (intervals, states) is as usual.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from feast import FeatureView
from feast.errors import FeatureViewNotFoundException
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from feast.value_type import ValueType

from feature_repo.arrow_kinds import arrow_type
from feature_repo.freshness import Place, files_beside
from feature_repo.materialized import Watched
from feature_repo.merging import STREAMED, merge_of
from feature_repo.scanning import scanned
from feature_repo.stores.online_store import Merge, OnlineStore
from feature_repo.stores.rows import CREATED, EVENT
from feature_repo.wire import KINDS
from recommender.errors import FeatureError

logger = logging.getLogger(__name__)

_ROWS = 10_000
"""Rows of a batch that is read from the offline store."""


class SnapshotEngineConfig(FeastConfigBaseModel):
    """Named in the profiles' YAML files; no settings of its own."""

    type: Literal["feature_repo.engine.SnapshotEngine"] = "feature_repo.engine.SnapshotEngine"


class SnapshotEngine(LocalComputeEngine):
    """Materializes plain views about one entity by Arrow batches; others as Feast does."""

    _store: OnlineStore | None = None

    def update(
        self,
        project: str,
        views_to_delete: Sequence[Any],
        views_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
    ) -> None:
        """Make the views known to the online store, as `feast apply` asks; see `ComputeEngine`."""
        del entities_to_delete, entities_to_keep
        store = self._online(project)
        if store is None:
            return
        for view in views_to_delete:
            if isinstance(view, FeatureView):
                store.drop(view.name)
        for view in views_to_keep:
            if _is_plain(view) and view.online:
                store.declare(view.name, view.join_keys[0], kinds_of_view(view))

    def teardown_infra(self, project: str, fvs: Sequence[Any], entities: Sequence[Any]) -> None:
        """Forget the views; Feast has removed their rows. See `ComputeEngine`."""
        del entities
        store = self._online(project)
        if store is not None:
            for view in fvs:
                store.drop(view.name)

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **options: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        store = self._online(task.project) if _is_plain(view) else None
        if store is None:
            return super()._materialize_one(registry, task, **options)
        job = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            watched = Watched(view.name)
            batches = watched.passing(_typed(view, self._batches(task)))
            merge = _merge(registry, task.project, view.name)
            told = store.write(view.name, view.join_keys[0], batches, merge)
            watched.record(_place(self.repo_config, task.project))
        except Exception as error:  # noqa: BLE001 Feast raises what the job holds
            return LocalMaterializationJob(job, MaterializationJobStatus.ERROR, error=error)
        logger.info("%s: %s", view.name, told)
        return LocalMaterializationJob(job, MaterializationJobStatus.SUCCEEDED)

    def _batches(self, task: MaterializationTask) -> Iterator[pa.RecordBatch]:
        """Yield the source's rows of the span of time, unsorted, a batch at a time."""
        view: Any = task.feature_view
        source = view.batch_source
        span = None if task.disable_event_timestamp else (task.start_time, task.end_time)
        moments = [source.timestamp_field, source.created_timestamp_column]
        features = [field.name for field in view.features]
        columns = [*view.join_keys, *features, *filter(None, moments)]
        if _is_parquet_file(source):
            read = scanned(source.path, columns, source.timestamp_field, span)
        else:
            start, end = span or (None, None)
            read = _streamed(
                self.offline_store.pull_all_from_table_or_query(
                    config=self.repo_config,
                    data_source=source,
                    join_key_columns=list(view.join_keys),
                    feature_name_columns=features,
                    timestamp_field=source.timestamp_field,
                    created_timestamp_column=source.created_timestamp_column,
                    start_date=start,
                    end_date=end,
                )
            )
        names = dict(zip(moments, (EVENT, CREATED), strict=True))
        for batch in read:
            yield batch.rename_columns([names.get(name, name) for name in batch.schema.names])

    def _online(self, project: str) -> OnlineStore | None:
        """Return our writer for Feast's online store; None if it is one that we don't know."""
        if self._store is None:
            self._store = _opened(self.repo_config, project)
        return self._store


def _is_parquet_file(source: Any) -> bool:
    path = str(getattr(source, "path", ""))
    return path.endswith(".parquet") and "*" not in path


def _streamed(job: Any) -> Iterator[pa.RecordBatch]:
    """Yield what a retrieval job finds; of DuckDB's (by Ibis) only a little at a time."""
    table = getattr(job, "table", None)
    if table is None:
        yield from job.toarrow_type().to_batches(max_chunksize=_ROWS)
        return
    # DuckDB would paint a bar over whatever the terminal shows.
    table.get_backend().raw_sql("SET enable_progress_bar = false")
    yield from table.to_pyarrow_batches(chunk_size=_ROWS)


def kinds_of_view(view: FeatureView) -> dict[str, str]:
    """Return the features of a view and their kinds, as `OnlineStore.declare` takes them."""
    return {field.name: field.dtype.to_value_type().name.lower() for field in view.features}


def _is_plain(view: Any) -> bool:
    """Tell whether a view's rows can go straight from its source into the store."""
    return (
        type(view) is FeatureView
        and len(view.join_keys) == 1
        and view.entity_columns[0].dtype.to_value_type() == ValueType.STRING
        and view.batch_source is not None
        and not view.batch_source.field_mapping
        and getattr(view, "feature_transformation", None) is None
        and set(kinds_of_view(view).values()) <= set(KINDS)
    )


def _opened(config: Any, project: str) -> OnlineStore | None:
    store = config.online_store
    if config.registry.enable_online_feature_view_versioning:
        return None
    if (connection := getattr(store, "connection_string", None)) is not None:
        if store.key_ttl_seconds or store.redis_type.value != "redis":
            return None
        from feature_repo.stores.redis import RedisStore

        return RedisStore(connection, project)
    if (path := getattr(store, "path", None)) is not None and not store.vector_enabled:
        from feature_repo.stores.sqlite import SqliteStore

        return SqliteStore(Path(config.repo_path or ".") / path, project)
    return None


def _place(config: Any, project: str) -> Place:
    """Return where the freshness of a store that `_opened` knows is recorded."""
    store = config.online_store
    if (connection := getattr(store, "connection_string", None)) is not None:
        from feature_repo.freshness_in_redis import RedisPlace

        return RedisPlace(connection, project)
    return files_beside(Path(config.repo_path or ".") / store.path, project)


def _merge(registry: BaseRegistry, project: str, view: str) -> Merge | None:
    """Return the view's merge; how long a sequence is stands in the rules for events."""
    if view != STREAMED:
        return None
    from feature_repo.stream.rules import TAG, EventRules

    try:
        tags = registry.get_any_feature_view("user_event", project).tags
    except FeatureViewNotFoundException:
        return None
    return merge_of(view, EventRules.from_tags(tags).limit) if TAG in tags else None


def _typed(view: FeatureView, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches with the types that the view declares.

    Raises:
        FeatureError: a value doesn't fit.
    """
    kinds = {view.join_keys[0]: "string", **kinds_of_view(view)}
    for batch in batches:
        columns = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            columns[name] = column
            if (kind := kinds.get(name)) is not None:
                columns[name] = _cast(view.name, name, column, arrow_type(kind))
        yield pa.record_batch(columns)


def _cast(view: str, name: str, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    try:
        return column if column.type == wanted else column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FeatureError(
            f"{view}: the column {name} of the snapshot is of the type {column.type} and can't be "
            f"kept as {wanted}: {str(error)[:200]}",
            "write the snapshot with the types of the view, or change the view and apply it",
        ) from None
