"""A log in files is published as the same log in memory is, and nothing streamed is lost."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from movielens_small import movielens_small
from tables_by_hand import configuration, event_table, tables

from feature_repo.freshness import place_of, read
from feature_repo.offline import read_snapshot
from feature_repo.profile import read_profile
from feature_repo.publish_log import publish_log
from feature_repo.stores import open_online
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.opening import open_sink
from recommender.errors import FeatureError
from recommender.features.build import catalogue_order, history_log
from recommender.features.latest import sequences
from recommender.features.snapshots import up_to_now

T = 1_700_000_000_000
ITEMS = ["a", "b", "c"]
LOG = [(f"u{n % 5}", ITEMS[n % 3], "click", T + n // 2, None, f"e{n:02}") for n in range(40)]
LIMIT = 6


@pytest.fixture
def config(tmp_path):
    features = {"history_limit": LIMIT, "build": {"events_per_bucket": 15}}
    return configuration(tmp_path / "workspace", features=features)


def files(tmp_path, rows, count=2):
    paths = []
    for n in range(count):
        paths.append(tmp_path / f"{n}.parquet")
        pq.write_table(event_table(rows[n::count]), paths[-1])
    return paths


def online(config, project, users):
    store = open_online(config.paths, project)
    try:
        return store.rows("user_sequence", "user_id", users)
    finally:
        store.close()


def wanted(made, config, as_of):
    """The rows as they are made in memory; text, because NaN is not equal to itself."""
    rows = sequences(
        history_log(made, config, event_ids=True),
        catalogue_order(made.items)["item_id"],
        config.actions.types,
        as_of,
        config.features.history_limit,
    ).to_pylist()
    return {row.pop("user_id"): repr(sorted(row.items())) for row in rows}


def told(rows):
    return {user: repr(sorted(row.items())) for user, row in rows.items() if row is not None}


def test_the_store_and_the_snapshot_hold_the_rows_that_are_made_in_memory(config, tmp_path):
    made = tables(LOG, ITEMS)
    as_of = T + 15
    report = publish_log(config, files(tmp_path, LOG), made.items, as_of, "rehearsal", "d-1")
    users = [f"u{n}" for n in range(6)]
    expected = wanted(made, config, as_of)
    rows = online(config, "by_hand_rehearsal", users)
    assert told(dict(zip(users, rows, strict=True))) == expected
    assert (report.users, report.written.rows, report.removed) == (5, 5, 0)
    assert report.events == 5 * LIMIT
    location = read_profile().offline_location(config.paths.features, "by_hand_rehearsal")
    snapshot = read_snapshot(location, "user_sequence").drop(["event_timestamp", "created"])
    assert told({row.pop("user_id"): row for row in snapshot.to_pylist()}) == expected
    fresh = read(place_of(config.paths, "by_hand_rehearsal"))["user_sequence"]
    assert (fresh.as_of_ms, fresh.rows, fresh.newest_event_ms) == (as_of, 5, as_of - 1)


def test_whoever_is_gone_from_the_log_is_gone_online(config, tmp_path):
    items = tables(LOG, ITEMS).items
    publish_log(config, files(tmp_path, LOG), items, T + 99, "rehearsal")
    left = [row for row in LOG if row[0] != "u3"]
    assert publish_log(config, files(tmp_path, left), items, T + 99, "rehearsal").removed == 1
    assert online(config, "by_hand_rehearsal", ["u3"]) == [None]


@pytest.mark.parametrize("rows", [[], LOG[:1]])
def test_a_log_without_events_before_the_moment_leaves_a_view_without_rows(config, tmp_path, rows):
    report = publish_log(config, files(tmp_path, rows), tables(LOG, ITEMS).items, T, "rehearsal")
    assert (report.users, report.events) == (0, 0)
    assert online(config, "by_hand_rehearsal", ["u0"]) == [None]


def test_what_was_published_stays_where_a_log_is_wrong(config, tmp_path):
    items = tables(LOG, ITEMS).items
    publish_log(config, files(tmp_path, LOG), items, T + 99, "rehearsal")
    location = read_profile().offline_location(config.paths.features, "by_hand_rehearsal")

    def state():
        return (
            repr(online(config, "by_hand_rehearsal", ["u0", "u1"])),
            repr(read_snapshot(location, "user_sequence").to_pylist()),
        )

    before = state()
    wrong = [*LOG, ("u1", "nothing", "click", T + 50)]
    with pytest.raises(FeatureError, match="'nothing'"):
        publish_log(config, files(tmp_path, wrong), items, T + 99, "rehearsal")
    assert state() == before


def test_what_was_streamed_before_and_since_stays_in_the_live_sequence(config, tmp_path):
    items = tables(LOG, ITEMS).items
    paths = files(tmp_path, LOG)
    publish_log(config, paths, items, T + 99, "live")
    sink = open_sink(config)
    sink.apply(
        [
            StreamEvent("s1", "u1", "a", "purchase", T + 60),
            StreamEvent("s2", "new", "b", "click", T + 61),
            StreamEvent("e01", "u1", "b", "click", T),  # the log has it
            StreamEvent("s3", "u1", "unheard-of", "click", T + 62),  # waits for its item
        ]
    )
    publish_log(config, paths, items, T + 99, "live")
    changed, new = online(config, "by_hand", ["u1", "new"])
    own = [row[5] for row in LOG if row[0] == "u1"]
    assert changed["event_ids"] == [*own, "s1"][-LIMIT:]
    assert new["event_ids"] == ["s2"]


@pytest.mark.needs_data
def test_movielens_in_files_is_published_as_it_is_made_in_memory(shared_data, tmp_path):
    config, made = movielens_small(
        shared_data, tmp_path / "w", {"features.build.events_per_bucket": 20_000}
    )
    path = tmp_path / "events.parquet"
    pq.write_table(made.events, path, row_group_size=10_000)
    as_of = up_to_now(made)
    publish_log(config, path, made.items, as_of, "rehearsal")
    users = made.users["user_id"].to_pylist()
    rows = online(config, "movielens_small_rehearsal", users)
    assert told(dict(zip(users, rows, strict=True))) == wanted(made, config, as_of)
    assert len(users) == 610
