from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quality_tables import NOW, START, Row, of_rows, rows_of, settings, shop, spoiled

from recommender.errors import ConfigError
from recommender.quality.clean import clean
from recommender.split import cut
from recommender.tables import EVENTS, ITEMS, USERS, Tables


def test_sound_tables_come_back_in_the_strict_schema_and_otherwise_as_they_were() -> None:
    tables = shop()

    cleaned = clean(tables, settings(), NOW)

    assert cleaned.tables.events.schema.equals(EVENTS)
    assert cleaned.tables.items.schema.equals(ITEMS)
    assert cleaned.tables.users.schema.equals(USERS)
    assert rows_of(cleaned.tables) == rows_of(tables)
    assert cleaned.removed == {"events": {}, "items": {}, "users": {}}
    assert cleaned.blanked == {}
    assert cleaned.added_users == 0


def test_each_unusable_event_is_removed_and_counted_under_its_first_reason() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[0]["event_id"] = None
        events[1]["user_id"] = None
        events[2]["user_id"] = "  "
        events[3]["item_id"] = None
        events[4]["item_id"] = "nowhere"
        events[5]["event"] = "teleport"
        events[6]["event"] = None
        events[7]["time"] = None
        events[8]["time"] = datetime(1901, 1, 1, tzinfo=UTC)
        events[9]["time"] = NOW + timedelta(days=2)
        events[10] |= {"user_id": None, "item_id": None}
        events.append({**events[20], "event_id": "copy"})
        other = "i1" if events[21]["item_id"] == "i0" else "i0"
        events.append({**events[21], "item_id": other})

    cleaned = clean(spoiled(shop(), spoil), settings(), NOW)

    assert cleaned.removed["events"] == {
        "no id": 1,
        "no user": 3,
        "no item": 1,
        "unknown item": 1,
        "unknown event type": 1,
        "no event type": 1,
        "no time": 1,
        "time out of range": 2,
        "duplicate": 1,
        "id of another event": 1,
    }
    assert cleaned.tables.events.num_rows == 602 - 13
    assert [record.dropped for record in cleaned.imputed if record.policy == "drop"] == [
        1,
        3,
        1,
        1,
        1,
    ]


def test_of_duplicate_events_the_first_one_stays_and_a_different_value_is_no_duplicate() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events.insert(1, {**events[0], "event_id": "z-copy"})
        events.insert(2, {**events[0], "event_id": "z-other", "value": 99.0})

    kept = clean(spoiled(shop(), spoil), settings(), NOW).tables.events["event_id"].to_pylist()

    assert "e000000" in kept
    assert "z-copy" not in kept
    assert "z-other" in kept


def test_a_row_that_comes_twice_as_a_whole_is_a_duplicate_even_without_a_time() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[114]["time"] = None
        events.append(dict(events[114]))

    quality = {"imputation": {"events": {"time": "interpolate"}}}
    cleaned = clean(spoiled(shop(), spoil), settings(quality=quality), NOW)

    assert cleaned.removed["events"] == {"duplicate": 1}
    assert cleaned.tables.events.num_rows == 600


def test_values_that_cannot_be_true_are_set_to_missing_and_counted() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[0]["value"] = float("inf")
        events[3]["value"] = 1e9
        events[6]["value"] = float("nan")
        events[1]["position"] = -1
        events[1]["propensity"] = 0.0
        events[2]["propensity"] = 1.5
        items[0]["price"] = -3.0
        items[1]["price"] = float("inf")

    quality = {"value_max": 5.0, "imputation": {"items": {"price": "keep"}}}
    cleaned = clean(spoiled(shop(), spoil), settings(quality=quality), NOW)

    assert cleaned.blanked == {
        "events.value not finite": 1,
        "events.value out of range": 1,
        "events.position negative": 1,
        "events.propensity not in (0, 1]": 2,
        "items.price": 2,
    }
    events, items, _ = rows_of(cleaned.tables)
    assert [events[row]["value"] for row in (0, 3, 6)] == [None, None, None]
    assert events[1]["position"] is None
    assert [events[row]["propensity"] for row in (1, 2, 3)] == [None, None, 0.1]
    assert [items[row]["price"] for row in (0, 1, 2)] == [None, None, 12.0]


def test_of_items_and_users_given_twice_the_last_one_stays() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        items.append({**items[4], "title": "renamed"})
        items.append({**items[0], "item_id": None})
        users.append({"user_id": "u3", "attributes": [("plan", "paid")]})

    cleaned = clean(spoiled(shop(), spoil), settings(), NOW)

    titles = dict(
        zip(
            cleaned.tables.items["item_id"].to_pylist(),
            cleaned.tables.items["title"].to_pylist(),
            strict=True,
        )
    )
    people = {row["user_id"]: row["attributes"] for row in cleaned.tables.users.to_pylist()}
    assert titles["i4"] == "renamed"
    assert cleaned.removed["items"] == {"no item id": 1, "given again further down": 1}
    assert people["u3"] == [("plan", "paid")]
    assert cleaned.removed["users"] == {"given again further down": 1}


def test_users_that_only_the_events_know_are_added_without_attributes() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[0]["user_id"] = "stranger"
        users[0]["attributes"] = None

    cleaned = clean(spoiled(shop(), spoil), settings(), NOW)

    people = {row["user_id"]: row["attributes"] for row in cleaned.tables.users.to_pylist()}
    assert cleaned.added_users == 1
    assert people["stranger"] == []
    assert people["u0"] == []


def test_events_of_an_item_dropped_for_its_missing_title_go_too() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        items[0]["title"] = " "

    tables = shop()
    of_item = tables.events["item_id"].to_pylist().count("i0")
    quality = {"imputation": {"items": {"title": "drop"}}}

    cleaned = clean(spoiled(tables, spoil), settings(quality=quality), NOW)

    assert of_item > 0
    assert cleaned.removed["items"] == {"no title": 1}
    assert cleaned.removed["events"] == {"unknown item": of_item}


def test_events_come_out_sorted_by_time_then_id() -> None:
    events, items, users = rows_of(shop())
    events[5]["time"] = events[6]["time"] = events[4]["time"]
    shuffled = of_rows(events[::-1], items, users)

    ids = clean(shuffled, settings(), NOW).tables.events["event_id"].to_pylist()

    assert ids == sorted(ids)


def test_a_constant_event_type_that_is_not_configured_is_refused() -> None:
    constant = {"policy": "constant", "constant": "teleport"}
    config = settings(quality={"imputation": {"events": {"event": constant}}})

    with pytest.raises(ConfigError, match="teleport"):
        clean(shop(), config, NOW)


def test_empty_tables_come_back_empty() -> None:
    cleaned = clean(of_rows([], [], []), settings(), NOW)

    assert cleaned.tables.events.num_rows == 0
    assert cleaned.horizon is None


def test_extreme_times_are_removed_without_overflow() -> None:
    tables = shop()
    times = pa.array([2**63 - 1, -(2**63) + 1, *([0] * 598)], pa.int64())
    column = times.cast(EVENTS.field("time").type)
    events = tables.events.set_column(4, tables.events.schema.field("time"), column)

    cleaned = clean(Tables(events, tables.items, tables.users), settings(), NOW)

    assert cleaned.removed["events"] == {"time out of range": 600}


# ── Property: whatever comes in ──────────────────────────────────────────────────────────────

_TIMES = st.one_of(
    st.none(),
    st.integers(0, 400).map(lambda hour: START + timedelta(hours=hour)),
    st.just(datetime(1850, 1, 1, tzinfo=UTC)),
    st.just(datetime(2900, 1, 1, tzinfo=UTC)),
)
_NUMBERS = st.one_of(st.none(), st.sampled_from([1.0, 2.5, float("nan"), float("inf"), -1.0]))
_EVENTS = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([None, "", "a", "b", "c"]),
        "item_id": st.sampled_from([None, "x", "y", "z", "unknown"]),
        "event": st.sampled_from([None, "view", "rate", "other"]),
        "time": _TIMES,
        "value": _NUMBERS,
        "surface": st.sampled_from([None, "s", "t"]),
        "position": st.one_of(st.none(), st.integers(-2, 3)),
        "propensity": _NUMBERS,
    }
)
_ITEMS = st.fixed_dictionaries(
    {
        "item_id": st.sampled_from([None, "x", "y", "z"]),
        "title": st.sampled_from([None, "", "a title"]),
        "text": st.none(),
        "categories": st.sampled_from([None, [], ["c"]]),
        "brand": st.sampled_from([None, "b"]),
        "price": _NUMBERS,
        "created": _TIMES,
    }
)
_USERS = st.fixed_dictionaries(
    {"user_id": st.sampled_from([None, "a", "b"]), "attributes": st.sampled_from([None, []])}
)
_POLICIES = st.fixed_dictionaries(
    {
        "events": st.fixed_dictionaries(
            {
                "event": st.sampled_from(["drop", "mode"]),
                "time": st.sampled_from(["drop", "interpolate"]),
                "value": st.sampled_from(["keep", "drop", "median", "mode", "previous"]),
                "surface": st.sampled_from(["keep", "mode", "previous"]),
                "position": st.sampled_from(["median", "previous"]),
            }
        ),
        "items": st.fixed_dictionaries(
            {
                "title": st.sampled_from(["keep", "drop"]),
                "brand": st.sampled_from(["keep", "mode"]),
                "price": st.sampled_from(["median", "mode", "model", "keep"]),
            }
        ),
    }
)


@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(_EVENTS, max_size=25),
    st.lists(st.integers(0, 30), min_size=25, max_size=25),
    st.lists(_ITEMS, max_size=6),
    st.lists(_USERS, max_size=4),
    _POLICIES,
)
def test_cleaning_is_idempotent_strict_and_accounts_for_every_row(
    log: list[Row], ids: list[int], items: list[Row], users: list[Row], policies: Row
) -> None:
    events = [{"event_id": f"e{number}", **row} for number, row in zip(ids, log, strict=False)]
    config = settings(quality={"imputation": policies})
    raw = of_rows(events, items, users)

    first = clean(raw, config, NOW)
    again = clean(first.tables, config, NOW)

    assert rows_of(again.tables) == rows_of(first.tables)
    assert again.removed == {"events": {}, "items": {}, "users": {}}
    assert again.blanked == {}
    for name, schema in (("events", EVENTS), ("items", ITEMS), ("users", USERS)):
        table = getattr(first.tables, name)
        assert table.schema.equals(schema)
        assert not any(table[f.name].null_count for f in schema if not f.nullable)
    gone = {name: sum(first.removed[name].values()) for name in first.removed}
    assert first.tables.events.num_rows == len(events) - gone["events"]
    assert first.tables.items.num_rows == len(items) - gone["items"]
    assert first.tables.users.num_rows == len(users) - gone["users"] + first.added_users
    assert set(first.tables.events["item_id"].to_pylist()) <= set(
        first.tables.items["item_id"].to_pylist()
    )
    assert set(first.tables.events["user_id"].to_pylist()) <= set(
        first.tables.users["user_id"].to_pylist()
    )
    assert all(record.left >= 0 for record in first.imputed)
    if first.horizon is not None:
        times = first.tables.events["time"].cast(pa.int64()).to_numpy()
        # What was fitted ended no later than the cut that training will make on these tables.
        assert first.horizon <= cut(times, config.split)[0].test_start
