"""Every kind of bad row: how severe it is, and what a person is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quality_judging import Change, Judged, broken, named, pseudonym, refusal
from quality_tables import NOW, Row, rows_of, shop, spoiled


def mark(column: str, value: object) -> Callable[[Row], object]:
    return lambda row: row.__setitem__(column, value)


FUTURE = NOW + timedelta(days=2)
ANCIENT = datetime(1969, 12, 1, tzinfo=UTC)  # a negative number of milliseconds
MICROSECONDS = datetime(9000, 1, 1, tzinfo=UTC)

ROW_DEFECTS = [
    ("events: each has an id", mark("event_id", None), "missing_event_id"),
    ("events: each has a user", mark("user_id", None), "missing_user"),
    ("events: each has a user", mark("user_id", " "), "missing_user"),
    ("events: each has an item", mark("item_id", None), "missing_item"),
    ("events: each has a type", mark("event", None), "missing_event"),
    ("events: each has a time", mark("time", None), "missing_time"),
    ("events: the time is believable", mark("time", FUTURE), "time_out_of_range"),
    ("events: the time is believable", mark("time", ANCIENT), "time_out_of_range"),
    ("events: the time is believable", mark("time", MICROSECONDS), "time_out_of_range"),
    ("events: the type is configured", mark("event", "teleport"), "unknown_event"),
    ("events: the item is in the catalogue", mark("item_id", "nowhere"), "unknown_item"),
    ("events: the value is finite", mark("value", float("-inf")), "value_not_finite"),
    ("events: the value is believable", mark("value", 77.0), "value_out_of_range"),
    ("events: the position is not negative", mark("position", -2), "position_out_of_range"),
    (
        "events: the propensity is a probability above 0",
        mark("propensity", 0.0),
        "propensity_out_of_range",
    ),
    (
        "events: the propensity is a probability above 0",
        mark("propensity", 1.01),
        "propensity_out_of_range",
    ),
]


def test_a_few_rows_of_every_defect_are_warnings_and_are_mended(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for number, (_, change, _) in enumerate(ROW_DEFECTS):
            change(events[number * 7])

    validation = judged(spoil, quality={"value_max": 5})

    assert validation.verdict == "passed with warnings"
    assert {name for name, _, _ in ROW_DEFECTS} <= set(broken(validation))
    assert set(broken(validation).values()) == {"warning"}
    assert sum(validation.sound(Path("x")).removed["events"].values()) == 11


def test_many_rows_of_every_defect_are_critical_with_count_and_examples(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for number, (_, change, _) in enumerate(ROW_DEFECTS):
            for row in events[number * 120 : number * 120 + 120]:
                change(row)

    tables = spoiled(shop(events=2000), spoil)
    validation = judged(tables, quality={"value_max": 5})

    found = {finding.name: finding for finding in validation.critical}
    names = [name for name, _, _ in ROW_DEFECTS]
    for number, (name, _, setting) in enumerate(ROW_DEFECTS):
        assert found[name].count == 120 * names.count(name), name
        assert found[name].setting == f"quality.rows.{setting}"
        assert len(found[name].examples) == 5
        first = names.index(name)
        if first == number:
            assert found[name].examples[0]["row"] == str(number * 120), name
            shown = found[name].examples[0]["event_id"]
            assert shown in (f"e{number * 120:06d}", "(missing)")


def test_the_refusal_names_what_is_broken_how_often_where_and_what_to_do(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events[100:160]:
            row["item_id"] = "nowhere"

    user = pseudonym(rows_of(shop())[0][100]["user_id"])

    assert refusal(judged(spoil)).splitlines()[:3] == [
        "data d-test broke a critical expectation:",
        "  events: the item is in the catalogue: 60 of 600 rows break it (10%); "
        "expected all but 5% of the rows",
        f"    e.g. row 100, event_id e000100, user_id {user}, item_id nowhere, event view, "
        "time 2024-01-05T04:00:00.000+00:00, value (missing)",
    ]
    assert refusal(judged(spoil)).splitlines()[-1] == (
        "  → read runs/r1/validation.html; mend the source, or change quality.rows.unknown_item "
        "if this is meant. Nothing was accepted."
    )


def test_exactly_the_tolerated_share_passes_and_one_row_more_does_not(judged: Judged) -> None:
    def spoil(count: int) -> Change:
        def change(events: list[Row], items: list[Row], users: list[Row]) -> None:
            for row in events[:count]:
                row["item_id"] = "nowhere"

        return change

    assert judged(spoil(30)).critical == ()
    assert [f.name for f in judged(spoil(31)).critical] == ["events: the item is in the catalogue"]


def test_a_limit_can_be_moved_and_switched_off(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events[:120]:
            row["item_id"] = "nowhere"

    wide = {"log": {"removed": {"warn": None, "fail": None}}}
    moved = judged(spoil, quality={**wide, "rows": {"unknown_item": {"warn": 0.1, "fail": 0.3}}})
    off = judged(spoil, quality={**wide, "rows": {"unknown_item": {"warn": None, "fail": None}}})

    assert broken(moved) == {"events: the item is in the catalogue": "warning"}
    assert off.verdict == "passed"


def test_duplicates_are_a_warning_and_are_removed(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events.extend({**row, "event_id": f"again-{n}"} for n, row in enumerate(events[:50]))

    validation = judged(spoil)

    finding = named(validation, "events: none is a copy of an earlier one", "warning")
    assert (finding.count, finding.rows) == (50, 650)
    assert finding.examples[0]["event_id"] == "again-0"
    assert validation.sound(Path("x")).tables.events.num_rows == 600


def test_a_log_loaded_twice_is_a_warning_but_three_times_is_critical(judged: Judged) -> None:
    def loaded(times: int) -> Change:
        def change(events: list[Row], items: list[Row], users: list[Row]) -> None:
            once = list(events)
            for _ in range(times - 1):
                events.extend(dict(row) for row in once)

        return change

    assert judged(loaded(2)).critical == ()
    assert "none is a copy of an earlier one" in refusal(judged(loaded(3)))


def test_one_id_for_two_different_events_is_critical(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[7]["event_id"] = events[6]["event_id"]

    message = refusal(judged(spoil))

    assert "events: no id is used for two different events: 1 of 600 rows break it" in message
    assert "event_id e000006" in message


def test_unknown_users_are_a_warning_and_are_added(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        users.clear()

    validation = judged(spoil)

    assert broken(validation) == {"events: the user is in the user table": "warning"}
    assert validation.sound(Path("x")).added_users == 40


def test_wrong_items_and_users_are_found(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        items[0]["title"] = "caf� cr�me"
        items[1]["price"] = -1.0
        items.append(dict(items[2]))
        items.append({**items[3], "item_id": None})
        users.append(dict(users[0]))
        users.append({"user_id": None, "attributes": None})

    validation = judged(spoil)

    assert broken(validation) == {
        "items: each has an id": "warning",
        "items: no id comes again": "warning",
        "items: the title is readable": "warning",
        "items: the price is finite and at least 0": "warning",
        "users: each has an id": "warning",
        "users: no id comes again": "warning",
    }
    price = named(validation, "items: the price is finite and at least 0", "warning")
    assert price.examples == (
        {"row": "1", "item_id": "i1", "title": "thing number 1", "price": "-1.0"},
    )


def test_a_catalogue_without_titles_is_critical(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in items:
            row["title"] = None

    assert "items: each has a title: 30 of 30 rows break it (100%)" in refusal(judged(spoil))


def test_a_column_that_is_all_missing_is_critical_where_it_is_needed(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["time"] = None

    message = refusal(judged(spoil))

    assert "events: each has a time: 600 of 600 rows break it (100%)" in message
    assert "log: events of the history types: 0" in message
