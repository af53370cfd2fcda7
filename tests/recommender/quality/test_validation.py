"""Every kind of bad data: how severe it is, and what a person is told."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quality_tables import NOW, START, Row, of_rows, rows_of, settings, shop, spoiled

from recommender.errors import DataQualityError, SourceError, StorageError
from recommender.quality.accepted import Accepted
from recommender.quality.judge import Finding
from recommender.quality.statistics import Statistics
from recommender.quality.validation import Validation, validate
from recommender.tables import Tables

Change = Callable[[list[Row], list[Row], list[Row]], object]
Judged = Callable[..., Validation]


def pseudonym(user: str) -> str:
    return "p" + hashlib.sha256(user.encode()).hexdigest()[:8]


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Validates a shop after `change` has spoiled it."""

    def judge(
        change: Change | Tables | None = None, *, against: Accepted | None = None, **more: Any
    ) -> Validation:
        tables = change if isinstance(change, Tables) else shop()
        if callable(change):
            tables = spoiled(tables, change)
        (tmp_path / "data").mkdir(exist_ok=True)
        tables.write(tmp_path / "data")
        return read(tmp_path, against=against, **more)

    return judge


def read(folder: Path, *, against: Accepted | None = None, **more: Any) -> Validation:
    return validate(
        folder / "data",
        settings(**more),
        data_version="d-test",
        now=NOW,
        against=against,
        pseudonym=pseudonym,
        docs=folder / "docs",
    )


def refusal(validation: Validation) -> str:
    with pytest.raises(DataQualityError) as caught:
        validation.sound(Path("runs/r1/validation.html"))
    return str(caught.value)


def named(validation: Validation, name: str, severity: str) -> Finding:
    return next(f for f in validation.findings if (f.name, f.severity) == (name, severity))


def broken(validation: Validation) -> dict[str, str]:
    return {f.name: f.severity for f in (*validation.warnings, *validation.critical)}


def test_sound_data_passes_every_expectation(judged: Judged) -> None:
    validation = judged()

    assert validation.verdict == "passed"
    assert all(finding.passed for finding in validation.findings)
    assert {f.suite for f in validation.findings} == {"schema", "events", "items", "users", "log"}
    cleaned = validation.sound(Path("x"))
    assert rows_of(cleaned.tables) == rows_of(shop())


def test_it_calls_nobody(judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("validation opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert judged().verdict == "passed"


# ── Small and empty logs ─────────────────────────────────────────────────────────────────────


def test_empty_tables_are_critical(judged: Judged) -> None:
    message = refusal(judged(of_rows([], [], [])))

    assert "log: events of the history types: 0; expected at least 10" in message
    assert "quality.log.events" in message


def one_user(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["user_id"] = "u1"


def one_item(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["item_id"] = "i1"


def one_moment(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["time"] = START


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_user, "log: users with such events: 1; expected at least 2"),
        (one_item, "log: items with such events: 1; expected at least 2"),
        (one_moment, "log: different moments: 1; expected at least 3"),
        (one_moment, "log: it can be cut into train, validation and test: no"),
    ],
)
def test_one_user_one_item_or_one_moment_is_critical(
    judged: Judged, change: Change, said: str
) -> None:
    assert said in refusal(judged(change))


def test_events_of_other_types_than_the_history_do_not_count_as_volume(judged: Judged) -> None:
    def no_history(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["event"] = "view"

    actions = {"types": ["view", "rate"], "history": ["rate"]}
    validation = judged(no_history, actions=actions)

    assert "log: events of the history types: 0" in refusal(validation)
    assert broken(validation)["log: configured types without any event"] == "warning"


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────


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


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_go_back_in_file_order_are_counted(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[10], events[300] = events[300], events[10]

    finding = named(judged(spoil), "events: times don't go back in file order", "warning")

    assert finding.count == 2
    assert [example["row"] for example in finding.examples] == ["11", "300"]


def test_a_long_silence_is_a_warning(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events[:300]:
            row["time"] -= timedelta(days=100)

    found = broken(judged(spoil))

    assert found == {"log: longest silence, as a share of the log's length": "warning"}


def test_a_source_that_runs_backwards_is_a_warning(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["time"] = START + (START - row["time"])
        events.reverse()

    found = broken(judged(spoil, quality={"epoch_start": "2000-01-01T00:00:00+00:00"}))

    assert found == {"log: share of the steps that go back in time": "warning"}


# ── Types ────────────────────────────────────────────────────────────────────────────────────


def retyped(folder: Path, table: str, column: str, kind: pa.DataType | None) -> None:
    """Rewrite one Parquet file with a column of another type, or without it."""
    path = folder / "data" / f"{table}.parquet"
    given = pq.read_table(path)
    if kind is None:
        pq.write_table(given.drop_columns([column]), path)
        return
    place = given.schema.get_field_index(column)
    pq.write_table(given.set_column(place, column, pa.nulls(len(given), kind)), path)


@pytest.mark.parametrize(
    ("table", "column", "kind", "said"),
    [
        (
            "events",
            "time",
            pa.string(),
            "events.time: type: string; expected timestamp[ms, tz=UTC]",
        ),
        ("events", "time", pa.timestamp("ms"), "events.time: type: timestamp[ms]"),
        ("events", "user_id", pa.int64(), "events.user_id: type: int64; expected string"),
        ("events", "value", pa.string(), "events.value: type: string; expected double"),
        ("items", "categories", pa.string(), "items.categories: type: string"),
        ("items", "price", None, "items.price: type: missing; expected double"),
    ],
)
def test_a_wrong_type_or_a_missing_column_is_critical_and_ends_the_judgement(
    judged: Judged, tmp_path: Path, table: str, column: str, kind: pa.DataType | None, said: str
) -> None:
    shop_folder = tmp_path / "data"
    shop_folder.mkdir()
    shop().write(shop_folder)
    retyped(tmp_path, table, column, kind)

    validation = read(tmp_path)

    assert said in refusal(validation)
    assert validation.rows_in == {}
    assert validation.cleaned is None


def test_types_that_hold_the_same_values_are_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shop().write(folder)
    events = pq.read_table(folder / "events.parquet")
    for name, kind in (
        ("user_id", pa.large_string()),
        ("item_id", pa.dictionary(pa.int32(), pa.string())),
        ("position", pa.int64()),
        ("value", pa.float32()),
        ("time", pa.timestamp("us", tz="UTC")),
    ):
        place = events.schema.get_field_index(name)
        events = events.set_column(place, name, events[name].cast(kind))
    pq.write_table(events, folder / "events.parquet")

    assert read(tmp_path).verdict == "passed"


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shop().write(folder)
    (folder / "items.parquet").write_bytes(b"not parquet")

    with pytest.raises(StorageError, match=r"items\.parquet is not a readable Parquet file"):
        read(tmp_path)
    (folder / "items.parquet").unlink()
    with pytest.raises(StorageError, match=r"items\.parquet does not exist"):
        read(tmp_path)


# ── Drift ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def accepted() -> Accepted:
    return Accepted("d-before", "2024-12-01", Statistics.of(shop(), settings().actions))


def renumbered(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in (*events, *items):
        row["item_id"] = f"new-{row['item_id']}"


def rescaled(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["value"] = row["value"] and row["value"] * 20


def retyped_events(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events[:590]:
        row["event"] = "view"


def cut_short(events: list[Row], items: list[Row], users: list[Row]) -> None:
    del events[200:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renumbered, "drift: item popularity (Jensen–Shannon distance): 1; expected at most 0.6"),
        (rescaled, "drift: mean value, in standard deviations"),
        (retyped_events, "drift: mix of event types (PSI)"),
        (cut_short, "drift: events, as a multiple of the accepted version's: 0.3333"),
    ],
)
def test_a_log_that_has_moved_far_from_the_accepted_one_is_critical(
    judged: Judged, accepted: Accepted, change: Change, said: str
) -> None:
    assert said in refusal(judged(change, against=accepted))


def test_a_log_that_has_moved_a_little_is_a_warning(judged: Judged, accepted: Accepted) -> None:
    def fewer(events: list[Row], items: list[Row], users: list[Row]) -> None:
        del events[480:]

    validation = judged(fewer, against=accepted)

    assert broken(validation) == {
        "drift: events, as a multiple of the accepted version's": "warning"
    }
    assert validation.drift["events_kept"] == 0.8


def test_the_comparison_can_be_switched_off_and_the_first_version_has_none(
    judged: Judged, accepted: Accepted
) -> None:
    off = judged(renumbered, against=accepted, quality={"drift": {"compare": False}})
    first = judged(renumbered)

    assert off.verdict == first.verdict == "passed"
    assert not any(f.name.startswith("drift") for f in (*off.findings, *first.findings))


# ── What is told ─────────────────────────────────────────────────────────────────────────────


def test_user_ids_appear_as_pseudonyms_only(judged: Judged, tmp_path: Path) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in (*events, *users):
            row["user_id"] = f"{row['user_id']}@example.com"
        for row in events[:100]:
            row["item_id"] = "nowhere"
        users.append(dict(users[0]))

    validation = judged(spoil)

    told = [str(finding) for finding in validation.findings]
    told += [page.read_text() for page in (tmp_path / "docs").rglob("*.html")]
    assert not [text for text in told if "example.com" in text]
    assert f"user_id {pseudonym(validation_user(validation))}" in refusal(validation)


def validation_user(validation: Validation) -> str:
    """The user of the first event, as the source names them."""
    first = rows_of(shop())[0][0]
    return f"{first['user_id']}@example.com"


def test_at_most_the_configured_number_of_examples_is_given(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["item_id"] = "nowhere"

    for count in (1, 5):
        finding = judged(spoil, quality={"examples": count}).critical[0]
        assert len(finding.examples) == count


def test_the_same_data_gives_the_same_findings(judged: Judged, accepted: Accepted) -> None:
    def told(validation: Validation) -> list[Row]:
        return [finding.to_dict() for finding in validation.findings]

    assert told(judged(rescaled, against=accepted)) == told(judged(rescaled, against=accepted))


def test_a_value_that_its_type_allows_but_the_schema_does_not_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    shop().write(folder)
    events = pq.read_table(folder / "events.parquet")
    place = events.schema.get_field_index("position")
    huge = pa.array([2**40] * len(events), pa.int64())
    pq.write_table(events.set_column(place, "position", huge), folder / "events.parquet")

    with pytest.raises(SourceError, match=r"events\.parquet: a value does not fit .*1099511627776"):
        read(tmp_path)
