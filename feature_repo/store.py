"""Publishing features: snapshots as of a moment, into the offline place and the online store.

The order makes a killed publication harmless. Snapshots are written whole, beside the old ones,
and renamed; the registry is transactional; rows reach the online store whole, in SQLite all of a
view or none. Whoever reads meanwhile sees good rows, and the next publication replaces whatever
was left in between.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.choices import Choices
from feature_repo.freshness import forget_others, now_ms, place_of, record
from feature_repo.locations import Lane, project_name
from feature_repo.merging import STREAMED, merge_of, remainder_of
from feature_repo.offline import write_snapshot
from feature_repo.profile import read_profile
from feature_repo.sdk import apply, materialize, open_store, speaking_plainly
from feature_repo.stores import open_online
from feature_repo.stores.online_store import Merge, OnlineStore, Written, replace
from feature_repo.stores.stamps import moment
from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.build import catalogue_order
from recommender.features.freshness import EVENT_VIEWS, Freshness, newest_event
from recommender.features.snapshots import KEYS, Snapshots, snapshots, up_to_now
from recommender.features.text import encode_items
from recommender.tables import Tables
from recommender.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = ["PublishReport", "apply", "materialize", "open_store", "project_name", "publish"]

_ROWS = 10_000
"""Rows handed to the online store at a time."""


@dataclass(frozen=True)
class PublishReport:
    """What was published.

    Attributes:
        project: Feast project.
        as_of_ms: UTC milliseconds; events strictly before it are in.
        users: who have a sequence.
        items: in the catalogue.
        events: in all sequences together.
        removed: users and items of the last publication that are gone now.
        seconds: it took.
        merged: users whose online row kept events that were streamed since the snapshot was read.
        landed: streamed events that the tables did not hold yet, and that are in the snapshot.
        views: how fresh each view is now.
    """

    project: str
    as_of_ms: int
    users: int
    items: int
    events: int
    removed: int
    seconds: float
    merged: int = 0
    landed: int = 0
    views: tuple[Freshness, ...] = ()


def publish(
    config: Config,
    tables: Tables,
    as_of_ms: int | None,
    lane: Lane,
    data_version: str = "",
    *,
    inspect: Callable[[Snapshots], None] | None = None,
) -> PublishReport:
    """Publish what is known strictly before a moment into one lane's Feast project.

    The online store then holds exactly that: users and items that aren't in the snapshot are
    removed, also where an earlier publication was as of a later moment. In the live lane streamed
    events count as well: those that have landed are part of the snapshot, and those that arrive
    while it is made are kept on top of it, whichever moment it is as of.

    Args:
        config: the whole configuration.
        tables: validated.
        as_of_ms: UTC milliseconds; None: just after the last event, streamed ones included.
        lane: `live` or `rehearsal`.
        data_version: of the tables, for the record of freshness.
        inspect: sees the snapshots before anything is written; if it raises, nothing is.

    Raises:
        ConfigError: the environment names no whole profile.
        FeatureError: an event names an unknown item or type; a store is damaged or can't be
            reached or written. Every row is the last good one or the new one.
        StorageError: a snapshot can't be written (disk full).
    """
    started = time.monotonic()
    project, paths = project_name(config, lane), config.paths
    # The whole work takes turns: a snapshot that was read earlier must not come after a later one.
    with taking_turns(paths):
        # Before any event is read: what arrives from now on may be missing from the snapshot.
        created = datetime.now(UTC)
        landed = 0
        if lane == "live":
            tables, created, landed = _with_landed(config, tables, created)
        as_of = up_to_now(tables) if as_of_ms is None else as_of_ms
        items = catalogue_order(tables.items)
        text = encode_items(items, config.features.text, paths.cache)
        built = snapshots(tables, config, text, as_of, created)
        if inspect is not None:
            inspect(built)
        store = open_store(paths, project)
        location = read_profile().offline_location(paths.features, project)
        for view, table in built.tables.items():
            write_snapshot(location, view, table)
        apply(store, paths, Choices.of(config))
        with closing(open_online(paths, project)) as online:
            limit = config.features.history_limit if lane == "live" else None
            brought = _Bringing(config, store, online, built, created, limit, data_version)
            written, removed = brought.all()
        fresh = forget_others(place_of(paths, project), built.tables)
    sequence = built.tables[STREAMED]
    return PublishReport(
        project=project,
        as_of_ms=as_of,
        users=sequence.num_rows,
        items=items.num_rows,
        events=pc.sum(pc.list_value_length(sequence["item_ids"])).as_py() or 0,
        removed=removed[STREAMED] + removed["item_text"],
        seconds=time.monotonic() - started,
        merged=written[STREAMED].merged,
        landed=landed,
        views=fresh,
    )


@dataclass(frozen=True)
class _Bringing:
    """Brings snapshots online; `limit` is of live sequences, None where nothing is streamed."""

    config: Config
    store: FeatureStore
    online: OnlineStore
    built: Snapshots
    created: datetime
    limit: int | None
    data_version: str

    def all(self) -> tuple[dict[str, Written], dict[str, int]]:
        """Bring every view; return by view what was written and how many rows were removed."""
        written, removed = {}, {}
        for view, table in self.built.tables.items():
            written[view], removed[view] = self._one(view, table)
        return written, removed

    def _one(self, view: str, table: pa.Table) -> tuple[Written, int]:
        started = time.monotonic()
        key = KEYS[view]
        merge: Merge = replace
        remainder = None
        if self.limit is not None:
            # One machine has one clock.
            skew = 0 if read_profile().embedded else self.config.features.stream.clock_skew_ms
            merge = merge_of(view, self.limit, skew) or replace
            remainder = remainder_of(view, self.limit, self.created, skew)
        # A table without rows has no batches, and its view must be known all the same.
        batches = table.to_batches(max_chunksize=_ROWS) or [_none(table.schema)]
        written = self.online.write(view, key, batches, merge)
        if written.stale:
            raise FeatureError(
                f"{written.stale} of {table.num_rows} rows of {view} were left out: a publication "
                f"that began later than {self.created:%Y-%m-%d %H:%M:%S} UTC was here first",
                "publish again",
            )
        removed = self.online.retain(view, key, self.created, remainder)
        with speaking_plainly(self.config.paths):
            at = moment(self.built.as_of * 1000)
            defined = self.store.get_feature_view(view)
            self.store.registry.apply_materialization(defined, self.store.project, at, at)
        self._record(view, table, time.monotonic() - started)
        return written, removed

    def _record(self, view: str, table: pa.Table, seconds: float) -> None:
        newest = newest_event(self.built.tables[STREAMED]) if view in EVENT_VIEWS else None
        known = Freshness(
            view,
            self.built.as_of,
            now_ms(),
            table.num_rows,
            round(seconds, 3),
            self.data_version,
            newest,
            read_ms=int(self.created.timestamp() * 1000),
        )
        record(place_of(self.config.paths, self.store.project), [known])


def _with_landed(config: Config, tables: Tables, created: datetime) -> tuple[Tables, datetime, int]:
    """Add the streamed events that have landed; return also the watermark of both, and how many."""
    from feature_repo.stream.opening import landing_of
    from feature_repo.stream.union import with_landed

    landed = landing_of(config).read()
    if not landed.events.num_rows:
        return tables, created, 0
    both = with_landed(tables, landed, config.actions.types)
    return both.tables, min(created, moment(landed.read_ms * 1000)), both.added


def _none(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema)


@contextmanager
def taking_turns(paths: Workspace) -> Iterator[None]:
    """Let one publication into a workspace at a time; the others wait."""
    paths.features.mkdir(parents=True, exist_ok=True)
    with (paths.features / "publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
