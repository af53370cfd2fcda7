"""Publishing features: snapshots as of a moment, through Feast, into the online store.

The order makes a killed publication harmless. Snapshots are written whole, beside the old ones,
and renamed; the registry is transactional; each view reaches the online store in one
transaction. Whoever reads meanwhile sees the last good rows, and the next publication replaces
whatever was left in between.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.choices import Choices
from feature_repo.freshness import now_ms, place_of, record
from feature_repo.locations import Lane, offline_folder, online_db, project_name
from feature_repo.sdk import apply, materialize, open_store
from feature_repo.sqlite import retain
from recommender.config import Config
from recommender.features.build import catalogue_order
from recommender.features.freshness import Freshness, published_now
from recommender.features.snapshots import KEYS, Snapshots, snapshots
from recommender.features.text import encode_items
from recommender.files import atomic_file
from recommender.tables import Tables
from recommender.workspace import Workspace

__all__ = ["PublishReport", "apply", "materialize", "open_store", "project_name", "publish"]


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
        views: how fresh each view is now.
    """

    project: str
    as_of_ms: int
    users: int
    items: int
    events: int
    removed: int
    seconds: float
    views: tuple[Freshness, ...] = field(default=())


def publish(
    config: Config,
    tables: Tables,
    as_of_ms: int,
    lane: Lane,
    *,
    data_version: str = "",
    inspect: Callable[[Snapshots], None] | None = None,
) -> PublishReport:
    """Publish what is known strictly before a moment into one lane's Feast project.

    The online store then holds exactly that: users and items that aren't in the snapshot are
    removed, also where an earlier publication was as of a later moment.

    Args:
        config: the whole configuration.
        tables: validated.
        as_of_ms: UTC milliseconds. For the live lane `recommender.features.snapshots.up_to_now`.
        lane: `live` or `rehearsal`.
        data_version: of the tables, for the record of freshness.
        inspect: sees the snapshots before anything is written; if it raises, nothing is.

    Raises:
        FeatureError: an event names an unknown item or type; a store is damaged or can't be
            written. What was published before is still there.
        StorageError: a snapshot can't be written (disk full).
    """
    started = time.monotonic()
    project = project_name(config, lane)
    items = catalogue_order(tables.items)
    text = encode_items(items, config.features.text, config.paths.cache)
    built = snapshots(tables, config, text, as_of_ms, datetime.now(UTC))
    if inspect is not None:
        inspect(built)
    with _alone(config.paths):
        store = open_store(config.paths, project)
        _write(built, config.paths, project)
        apply(store, config.paths, Choices.of(config))
        began = time.monotonic()
        materialize(store, config.paths, as_of_ms)
        kept = {
            view: (KEYS[view], table[KEYS[view]].to_pylist())
            for view, table in built.tables.items()
        }
        removed = retain(online_db(config.paths), project, kept)
        took = dict.fromkeys(kept, (time.monotonic() - began) / len(kept))
        fresh = published_now(built.tables, as_of_ms, data_version, took, now_ms())
        record(place_of(config.paths, project), fresh)
    sequence = built.tables["user_sequence"]
    return PublishReport(
        project=project,
        as_of_ms=as_of_ms,
        users=sequence.num_rows,
        items=items.num_rows,
        events=pc.sum(pc.list_value_length(sequence["item_ids"])).as_py() or 0,
        removed=removed["user_sequence"] + removed["item_text"],
        seconds=time.monotonic() - started,
        views=fresh,
    )


def _write(built: Snapshots, paths: Workspace, project: str) -> None:
    folder = offline_folder(paths.features, project)
    for view, table in built.tables.items():
        with atomic_file(folder / f"{view}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
            temporary.chmod(0o644)


@contextmanager
def _alone(paths: Workspace) -> Iterator[None]:
    """Let one publication into a workspace at a time; the others wait."""
    paths.features.mkdir(parents=True, exist_ok=True)
    with (paths.features / "publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
