"""A log replayed as a stream ends in what a batch build of it holds, field by field."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from streamed_shop import KINDS, open_store
from tables_by_hand import configuration

from feature_repo.merging import merge_of, remainder_of
from feature_repo.stream.apply import EventSink
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from feature_repo.stream.rules import EventRules
from feature_repo.stream.union import with_landed
from recommender.config import Config
from recommender.features.build import catalogue_order, history_log
from recommender.features.latest import sequences, stamped
from recommender.features.snapshots import up_to_now
from recommender.sources.read import read
from recommender.tables import EVENTS, Tables

ORDER = [("time", "ascending"), ("event_id", "ascending")]
FIELDS = [name for name in KINDS if name != "arrivals"]


@pytest.fixture(scope="module")
def movielens(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Tables]:
    source = {"kind": "movielens", "location": str(shared_data / "ml-latest-small")}
    actions = {"types": ["rate", "like"]}
    folder = tmp_path_factory.mktemp("movielens")
    config = configuration(folder, source=source, actions=actions)
    return config, read(config)[0]


def some(tables: Tables, users: int | None) -> Tables:
    """The events of the first users; everybody's for None."""
    if users is None:
        return tables
    kept = pa.array(sorted(set(tables.events["user_id"].to_pylist()))[:users])
    return Tables(
        tables.events.filter(pc.is_in(tables.events["user_id"], kept)), tables.items, tables.users
    )


def stream(tables: Tables) -> list[StreamEvent]:
    columns = [
        column.cast(pa.int64()) if column.type == EVENTS.field("time").type else column
        for column in tables.events.columns
    ]
    return [StreamEvent(*row) for row in zip(*(c.to_pylist() for c in columns), strict=True)]


def batch(tables: Tables, config: Config, as_of: int, created: datetime) -> pa.Table:
    log = history_log(tables, config, event_ids=True)
    items = catalogue_order(tables.items)["item_id"]
    limit = config.features.history_limit
    return stamped(sequences(log, items, config.actions.types, as_of, limit), as_of, created)


def differences(store: Any, wanted: pa.Table) -> int:
    """Fields, of all rows, that differ; NaN is NaN."""
    rows = wanted.to_pylist()
    found = store.rows("user_sequence", "user_id", [row["user_id"] for row in rows])
    assert set(store.ids("user_sequence")) == {row["user_id"] for row in rows}
    return sum(
        1 if held is None else sum(repr(held[name]) != repr(row[name]) for name in FIELDS)
        for row, held in zip(rows, found, strict=True)
    )


def replay(place: str, landing: Landing, config: Config, parts: list[list[StreamEvent]], as_of):
    """Stream the parts by one writer each, at the same time."""
    rules = EventRules.of(config)

    def writing(part: list[StreamEvent]) -> None:
        sink = EventSink(open_store(place), landing, rules, clock=lambda: as_of)
        for start in range(0, len(part), 500):
            sink.apply(part[start : start + 500])
        sink.close()

    threads = [threading.Thread(target=writing, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.needs_data
@pytest.mark.parametrize("users", [25, pytest.param(None, marks=pytest.mark.slow)])
def test_movielens_as_a_stream_is_movielens_as_a_batch(movielens, place, store, landing, users):
    config, everything = movielens
    tables = some(everything, users)
    as_of = up_to_now(tables)
    events = stream(tables)
    shuffled = random.Random(11)
    delivered = events + shuffled.choices(events, k=len(events) // 10)
    shuffled.shuffle(delivered)
    half = len(delivered) // 2
    # Both writers also deliver some events of the other.
    replay(place, landing, config, [delivered[: half + 300], delivered[half - 300 :]], as_of)

    wanted = batch(tables, config, as_of, datetime.now(UTC))
    assert wanted.num_rows == len(set(tables.events["user_id"].to_pylist()))
    assert differences(store, wanted) == 0
    # What landed is the log, once each.
    landed = landing.read()
    assert landed.events.num_rows == len(events)
    assert landed.conflicting == 0
    nothing = Tables(tables.events.slice(0, 0), tables.items, tables.users)
    both = with_landed(nothing, landed, config.actions.types).tables.events
    assert both.cast(EVENTS).equals(tables.events.sort_by(ORDER).cast(EVENTS))


@pytest.mark.needs_data
def test_older_snapshots_published_while_a_stream_goes_on_lose_nothing(
    movielens, place, store, landing
):
    config, everything = movielens
    tables = some(everything, 12)
    as_of = up_to_now(tables)
    events = stream(tables)
    random.Random(5).shuffle(events)
    limit = config.features.history_limit
    stop = threading.Event()
    published = []

    def publishing() -> None:
        publisher = open_store(place)
        while not stop.is_set():
            landed = landing.read()
            created = datetime.fromtimestamp(landed.read_ms / 1000, UTC)
            old = Tables(landed.events.select(EVENTS.names), tables.items, tables.users)
            if not old.events.num_rows:
                continue
            # Read some time ago, and as of a moment long past: stale in every way.
            snapshot = batch(old, config, as_of, created)
            stop.wait(0.05)
            publisher.write(
                "user_sequence", "user_id", snapshot.to_batches(), merge_of("user_sequence", limit)
            )
            publisher.retain(
                "user_sequence", "user_id", created, remainder_of("user_sequence", limit, created)
            )
            published.append(snapshot.num_rows)
        publisher.close()

    thread = threading.Thread(target=publishing)
    thread.start()
    sink = EventSink(open_store(place), landing, EventRules.of(config))
    try:
        for start in range(0, len(events), 40):
            sink.apply(events[start : start + 40])
    finally:
        stop.set()
        thread.join()
    assert len(published) > 2
    wanted = {
        row["user_id"]: row for row in batch(tables, config, as_of, datetime.now(UTC)).to_pylist()
    }
    for user, row in wanted.items():
        (held,) = store.rows("user_sequence", "user_id", [user])
        for name in FIELDS[:-1]:  # as_of is the clock's, because the stream is live here
            assert repr(held[name]) == repr(row[name]), (user, name)
