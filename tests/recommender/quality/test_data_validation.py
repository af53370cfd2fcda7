"""The judgement as a whole: passing, types, files, and what a person is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quality_judging import Judged, pseudonym, read, refusal
from quality_tables import Row, rows_of, shop

from recommender.errors import SourceError, StorageError


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


# ── What is told ─────────────────────────────────────────────────────────────────────────────


def test_user_ids_appear_as_pseudonyms_only(judged: Judged, tmp_path: Path) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in (*events, *users):
            row["user_id"] = f"{row['user_id']}@example.com"
        for row in events[:100]:
            row["item_id"] = "nowhere"
        users.append(dict(users[0]))

    validation = judged(spoil, docs=True)

    told = [str(finding) for finding in validation.findings]
    pages = [page.read_text() for page in (tmp_path / "docs").rglob("*.html")]
    assert len(pages) > 5
    told += pages
    assert not [text for text in told if "example.com" in text]
    first = rows_of(shop())[0][0]["user_id"]
    assert f"user_id {pseudonym(f'{first}@example.com')}" in refusal(validation)


def test_at_most_the_configured_number_of_examples_is_given(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["item_id"] = "nowhere"

    for count in (1, 5):
        finding = judged(spoil, quality={"examples": count}).critical[0]
        assert len(finding.examples) == count
