"""Edges of a follow graph: what is wrong with them is judged, counted and mended."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from quality_judging import broken, named, pseudonym, read
from quality_tables import NOW, START, settings, shop

from recommender.quality.clean import clean
from recommender.quality.report import described
from recommender.quality.validation import Validation
from recommender.tables import FOLLOWS, Tables, relaxed

Edge = tuple[str | None, str | None, datetime | None]
SOUND: list[Edge] = [("u1", "u2", START), ("u2", "u1", None), ("u3", "u1", START)]
# Of 20 edges one is 5 %: within the limit.
MANY: list[Edge] = [(f"u{n}", f"u{n + 1}", START) for n in range(25)]


def with_edges(edges: list[Edge]) -> Tables:
    columns = [pa.array([edge[place] for edge in edges]) for place in range(3)]
    return replace(shop(), follows=pa.table(columns, FOLLOWS.names).cast(relaxed(FOLLOWS)))


def pairs(tables: Tables) -> list[tuple[str, str]]:
    return [(row["user_id"], row["followed_user_id"]) for row in tables.follows.to_pylist()]


def test_sound_edges_come_back_sorted_and_strict() -> None:
    cleaned = clean(with_edges(SOUND[::-1]), settings(), NOW)
    assert cleaned.tables.follows.schema.equals(FOLLOWS)
    assert pairs(cleaned.tables) == [("u1", "u2"), ("u2", "u1"), ("u3", "u1")]
    assert cleaned.removed["follows"] == {}
    assert cleaned.added_users == 0


def test_each_unusable_edge_is_removed_under_its_first_reason() -> None:
    wrong: list[Edge] = [
        (None, "u1", START),
        ("u1", " ", START),
        ("u4", "u4", START),
        ("u5", "u1", START - timedelta(days=365 * 80)),
        ("u5", "u2", NOW + timedelta(days=3)),
        ("u5", "nobody", START),
    ]
    given = with_edges([*SOUND, *wrong])
    cleaned = clean(given, settings(), NOW)
    assert pairs(cleaned.tables) == [("u1", "u2"), ("u2", "u1"), ("u3", "u1")]
    assert cleaned.removed["follows"] == {
        "lacks a user": 2,
        "to oneself": 1,
        "time out of range": 2,
        "unknown followed user": 1,
    }
    # Cleaning what is clean changes nothing.
    again = clean(cleaned.tables, settings(), NOW)
    assert again.tables.follows.equals(cleaned.tables.follows)
    assert again.removed["follows"] == {}


def test_of_an_edge_that_comes_again_the_earliest_stays() -> None:
    later = START + timedelta(days=9)
    edges: list[Edge] = [
        ("u1", "u2", None),
        ("u1", "u2", later),
        ("u1", "u2", START),
        ("u2", "u1", None),
        ("u2", "u1", None),
    ]
    cleaned = clean(with_edges(edges), settings(), NOW)
    assert cleaned.tables.follows["since"].to_pylist() == [START, None]
    assert cleaned.removed["follows"] == {"given earlier or again": 3}


def test_who_only_follows_becomes_a_user_without_attributes() -> None:
    cleaned = clean(with_edges([*SOUND, ("cold", "u1", START)]), settings(), NOW)
    assert cleaned.added_users == 1
    assert ("cold", "u1") in pairs(cleaned.tables)
    (row,) = (row for row in cleaned.tables.users.to_pylist() if row["user_id"] == "cold")
    assert row["attributes"] == []


def judged(folder: Path, edges: list[Edge] | None) -> Validation:
    (shop() if edges is None else with_edges(edges)).write(folder / "data")
    return read(folder)


def test_validation_judges_the_edges_and_says_what_is_wrong_by_pseudonym(tmp_path: Path) -> None:
    wrong: list[Edge] = [("u1", "u1", START), ("u0", "u1", START)]
    found = judged(tmp_path, [*MANY, *wrong, ("cold", "u1", None)])
    assert found.verdict == "passed with warnings"
    assert broken(found) == {
        "follows: nobody follows themselves": "warning",
        "follows: no edge comes again": "warning",
    }
    oneself = named(found, "follows: nobody follows themselves", "warning")
    assert (oneself.count, oneself.rows) == (1, 28)
    (example,) = oneself.examples
    assert example == {
        "row": "25",
        "user_id": pseudonym("u1"),
        "followed_user_id": pseudonym("u1"),
    }
    told = described(found)
    assert (told["rows_in"]["follows"], told["rows_out"]["follows"]) == (28, 26)
    assert told["removed"]["follows"] == {"to oneself": 1, "given earlier or again": 1}


def test_edges_of_the_wrong_type_stop_the_run(tmp_path: Path) -> None:
    tables = with_edges(SOUND)
    wrong = tables.follows.drop_columns(["since"]).append_column("since", pa.array([1, 2, 3]))
    tables.write(tmp_path / "data")
    pq.write_table(wrong, tmp_path / "data" / "follows.parquet")
    found = read(tmp_path)
    assert [finding.name for finding in found.critical] == ["follows.since: type"]
