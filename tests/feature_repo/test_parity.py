"""The online answer at any moment is the training example of that moment, field by field.

Three ways to the same row: what training reads (`EventLog.histories`), a batch that is written
into a real store and read as the model server reads it, and a stream that appends the events one
by one in the order in which they happen to be delivered. The rules are in `docs/features.md`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from movielens_small import movielens_small
from tables_by_hand import ACTIONS, configuration, event_table, tables

from feature_repo.locations import online_db
from feature_repo.online import OnlineFeatures
from feature_repo.stores.online_store import replace as let_the_snapshot_win
from feature_repo.stores.sqlite import SqliteStore
from recommender.config import Config
from recommender.features.build import catalogue_order, history_log
from recommender.features.recent import Event, Recent, append
from recommender.features.sequences import EventLog
from recommender.features.streaming_build import Wanted, latest_sequences
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.tables import Tables

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
FIELDS = ("item_ids", "actions", "times", "values", "event_ids")
ITEMS = ["a", "b", "c"]
USERS = ["u1", "u2", "ü 3", "u'4", "u10"]
LIMIT = 4

FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999
"""The first and the last millisecond of the years that calendars here know, 1 … 9999."""

# Ties are the rule; the epoch and the ends of the calendar are in.
TIME = st.sampled_from([FIRST, FIRST + 1, -1_001, -1, 0, 1, 999, 1_000, LAST - 1, LAST])
EVENT = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from(ITEMS),
    st.sampled_from(ACTIONS["types"]),
    TIME,
    st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False)),
)


def plain(row):
    """A row that can be compared: NaN is None, and every list a list."""
    return {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in row[name]]
        for name in FIELDS
    }


class Offline:
    """What training sees of a user at a moment, by names instead of codes."""

    def __init__(self, made: Tables, config: Config) -> None:
        self.log: EventLog = history_log(made, config, event_ids=True)
        self.rows = {user: row for row, user in enumerate(self.log.users)}
        self.items = catalogue_order(made.items)["item_id"].to_pylist()
        self.types = config.actions.types
        self.limit = config.features.history_limit

    def example(self, user: str, time: int):
        """Return the row, or None for a user without a history."""
        if user not in self.rows:
            return None
        seen = self.log.histories(np.array([self.rows[user]]), np.array([time]), self.limit)
        if not len(seen.items):
            return None
        return plain(
            {
                "item_ids": [self.items[item] for item in seen.items],
                "actions": [self.types[action - 1] for action in seen.actions],
                "times": seen.times.tolist(),
                "values": seen.values.tolist(),
                "event_ids": seen.event_ids.to_pylist(),
            }
        )


class Online:
    """A real store into which sequences are published as of any moment."""

    def __init__(self, config: Config) -> None:
        config.paths.features.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.store = SqliteStore(online_db(config.paths), "parity")

    def publish(self, made: Tables, time: int) -> None:
        now = datetime.now(UTC)
        wanted = Wanted.by(self.config, catalogue_order(made.items), time, now)
        batches = latest_sequences(made.events, wanted, self.config.features.build)
        self.store.write("user_sequence", "user_id", batches, let_the_snapshot_win)
        self.store.retain("user_sequence", "user_id", now)

    def answers(self, users):
        """Return what a model server reads, and what only the store's own reader tells."""
        with OnlineFeatures(self.config.paths, "parity") as served:
            histories = served.user_histories(users)
        whole = self.store.rows("user_sequence", "user_id", users)
        for history, row in zip(histories, whole, strict=True):
            assert (history is None) == (row is None)
            if history is not None:
                assert list(history.item_ids) == row["item_ids"]
                assert list(history.actions) == row["actions"]
                assert list(history.times) == row["times"]
                assert repr(list(history.values)) == repr(row["values"])
                assert history.as_of_ms == row["as_of"]
                assert set(row["arrivals"]) == {0}
        return [row and plain(row) for row in whole]


def as_stream(events: pa.Table, config: Config):
    """The events that make histories, by user, in the order of the rows."""
    kept = events.filter(pc.is_in(events["event"], value_set=pa.array(config.actions.histories)))
    columns = [kept[name].to_pylist() for name in ("user_id", "event_id", "item_id", "event")]
    times = kept["time"].cast(pa.int64()).to_pylist()
    values = kept["value"].cast(pa.float32()).fill_null(math.nan).to_pylist()
    by_user = defaultdict(list)
    for user, name, item, kind, time, value in zip(*columns, times, values, strict=True):
        by_user[user].append(Event(time, name, item, kind, value))
    return by_user


def answered(recent: Recent | None):
    return None if recent is None else plain(recent.row())


@pytest.fixture(scope="module")
def online(tmp_path_factory) -> Online:
    features = {"history_limit": LIMIT, "build": {"events_per_bucket": 7}}
    return Online(configuration(tmp_path_factory.mktemp("parity"), features=features))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(EVENT, min_size=1, max_size=30), TIME, st.data())
def test_training_batch_and_stream_agree_on_every_field(online, events, time, data):
    ids = data.draw(st.permutations([f"e{n}" for n in range(len(events))]))
    rows = [(*event, name) for event, name in zip(events, ids, strict=True)]
    made = tables(rows, ITEMS)
    offline = Offline(made, online.config)
    online.publish(made, time)
    # Delivered in any order, some of them several times.
    delivered = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows)))))
    stream = as_stream(event_table(delivered), online.config)

    for user, answer in zip(USERS, online.answers(USERS), strict=True):
        wanted = offline.example(user, time)
        recent = None
        for event in stream[user]:
            if event.time < time:
                recent = append(recent, [event], LIMIT)
        assert answer == wanted
        assert answered(recent) == wanted


@pytest.fixture(scope="module")
def movielens(shared_data, tmp_path_factory):
    return movielens_small(
        shared_data,
        tmp_path_factory.mktemp("movielens"),
        {"features.history_limit": 50, "features.build.events_per_bucket": 30_000},
    )


@pytest.mark.needs_data
def test_movielens_published_as_of_random_moments_is_what_training_sees(movielens):
    config, made = movielens
    offline, online = Offline(made, config), Online(config)
    users = sorted(made.users["user_id"].to_pylist())
    times = made.events["time"].cast(pa.int64()).to_numpy()
    compared = held = 0
    for time in np.random.default_rng(5).choice(times, 6):
        online.publish(made, int(time))
        for user, answer in zip(users, online.answers(users), strict=True):
            assert answer == offline.example(user, int(time)), (user, time)
            compared += 1
            held += answer is not None
    assert (compared, len(users)) == (3_660, 610)
    assert held > 1_000


@pytest.mark.needs_data
def test_movielens_replayed_as_a_stream_is_what_training_sees_at_random_moments(movielens):
    config, made = movielens
    offline = Offline(made, config)
    rng = np.random.default_rng(6)
    compared = 0
    # Ties come in any order: the file's order is that of (time, event id).
    shuffled = made.events.take(rng.permutation(made.events.num_rows))
    shuffled = shuffled.take(pc.sort_indices(shuffled["time"]))
    limit = config.features.history_limit
    for user, events in as_stream(shuffled, config).items():
        own = np.array([event.time for event in events])
        # Half of the moments are those of an event, where strictly before matters.
        moments = [*rng.choice(own, 3), *rng.integers(own[0] - 1, own[-1] + 2, 3)]
        recent, fed = None, 0
        for time in sorted(int(moment) for moment in moments):
            while fed < len(events) and events[fed].time < time:
                recent = append(recent, events[fed : fed + 1], limit)
                fed += 1
            assert answered(recent) == offline.example(user, time), (user, time)
            compared += 1
    assert compared == 3_660


# The rules, one by one.

T = 1_700_000_000_000
"""November 2023: validation takes events of 1970 for broken clocks."""

PAST = [
    ("u", "a", "click", T + 10, None, "e1"),
    ("u", "b", "click", T + 30, None, "e3"),
]
LATE = ("u", "c", "click", T + 20, None, "e2")


def test_an_event_that_arrives_late_takes_the_place_that_its_time_gives_it(online):
    now = T + 40
    before, after = tables(PAST, ITEMS), tables([*PAST, LATE], ITEMS)
    online.publish(before, now)
    assert online.answers(["u"])[0]["event_ids"] == ["e1", "e3"]
    # Training has it from its own time on; stream and next batch from its arrival on.
    wanted = Offline(after, online.config).example("u", now)
    assert wanted["event_ids"] == ["e1", "e2", "e3"]
    online.publish(after, now)
    assert online.answers(["u"]) == [wanted]
    recent = None
    for event in as_stream(event_table([*PAST, LATE]), online.config)["u"]:
        recent = append(recent, [event], LIMIT)
    assert answered(recent) == wanted


def test_a_late_event_that_lies_before_a_full_window_changes_nothing(online):
    full = [("u", "a", "click", 10 + n, None, f"e{n}") for n in range(LIMIT)]
    made = tables([*full, ("u", "b", "click", 1, None, "late")], ITEMS)
    online.publish(made, 99)
    assert online.answers(["u"])[0]["event_ids"] == [f"e{n}" for n in range(LIMIT)]


def test_a_user_without_events_any_more_is_gone_from_all_three(online):
    online.publish(tables([*PAST, ("gone", "a", "click", T)], ITEMS), T + 99)
    assert online.answers(["gone"]) != [None]
    left = tables(PAST, ITEMS)
    online.publish(left, T + 99)
    assert online.answers(["gone"]) == [None]
    assert Offline(left, online.config).example("gone", T + 99) is None
    assert list(online.store.ids("user_sequence")) == ["u"]


def test_an_item_that_left_the_catalogue_leaves_every_history(online):
    made = tables([*PAST, LATE], ITEMS)
    without = made.items.filter(pc.not_equal(made.items["item_id"], "c"))
    cleaned = clean(replace(made, items=without), online.config, CREATED).tables
    online.publish(cleaned, T + 99)
    (answer,) = online.answers(["u"])
    assert answer["item_ids"] == ["a", "b"]
    assert answer == Offline(cleaned, online.config).example("u", T + 99)


def test_an_id_that_is_used_for_two_events_belongs_to_the_first_of_them(online):
    again = [*PAST, ("u", "c", "click", T + 40, None, "e1")]
    cleaned = clean(tables(again, ITEMS), online.config, CREATED).tables
    online.publish(cleaned, T + 99)
    (answer,) = online.answers(["u"])
    assert answer["event_ids"] == ["e1", "e3"]
    recent = None
    for event in as_stream(event_table(again), online.config)["u"]:
        recent = append(recent, [event], LIMIT)
    assert answered(recent) == answer == Offline(cleaned, online.config).example("u", T + 99)


def test_clock_times_of_a_zone_are_taken_in_utc_also_where_the_clock_is_put_back(tmp_path):
    # 27 October 2024, Berlin: 02:30 comes twice. By the clock alone the order would be another.
    (tmp_path / "log.csv").write_text(
        "id,user,item,kind,time\n"
        "e1,u,a,click,2024-10-27 01:59:00\n"
        "e2,u,b,click,2024-10-27T02:30:00+02:00\n"
        "e3,u,c,click,2024-10-27T02:10:00+01:00\n"
        "e4,u,a,click,2024-10-27 03:00:00\n",
        encoding="utf-8",
    )
    (tmp_path / "items.csv").write_text("item,title\na,A\nb,B\nc,C\n", encoding="utf-8")
    columns = {"event_id": "id", "user": "user", "item": "item", "time": "time"}
    source = {
        "kind": "mapped",
        "events": {
            "location": str(tmp_path / "log.csv"),
            "columns": columns,
            "types": {"rules": [{"event": "click"}]},
            "time": {"zone": "Europe/Berlin"},
        },
        "items": {
            "location": str(tmp_path / "items.csv"),
            "columns": {"item": "item", "title": "title"},
        },
    }
    config = configuration(tmp_path / "workspace", source=source)
    made, _ = read(config)
    wanted = Offline(made, config).example("u", LAST)
    assert wanted["event_ids"] == ["e1", "e2", "e3", "e4"]
    utc = [datetime.fromtimestamp(time / 1000, UTC).strftime("%H:%M") for time in wanted["times"]]
    assert utc == ["23:59", "00:30", "01:10", "02:00"]
    online = Online(config)
    online.publish(made, LAST)
    assert online.answers(["u"]) == [wanted]
