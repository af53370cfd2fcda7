"""Cells to ids, numbers, prices and moments, in every way that sources write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config import Config
from recommender.config.mapping import TimeFormat
from recommender.sources.convert import moments, numbers
from recommender.sources.raw import Raw
from recommender.sources.read import read
from recommender.sources.report import IngestReport

Shop = Callable[..., Config]


def _raw(column: pa.Array) -> Raw:
    return Raw("events", pa.table({"c": column}), np.arange(len(column)), (("f.csv", len(column)),))


def _iso(table: pa.Table) -> list[str | None]:
    return [t and t.isoformat() for t in table["time"].to_pylist()]


def test_ids_stay_as_they_are_written(shop: Shop, tmp_path: Path) -> None:
    log = "user,item,time\n007,1.0,2024-01-01\n 8 ,2.5,2024-01-02\n"
    tables, _ = read(shop(log))
    assert tables.events["user_id"].to_pylist() == ["007", "8"]
    assert tables.events["item_id"].to_pylist() == ["1.0", "2.5"]
    # Whole numbers that a column with gaps turned into fractions are whole numbers again.
    table = pa.table(
        {"user": pa.array([7.0, None]), "item": pa.array([3, 4]), "time": ["2024-01-01"] * 2}
    )
    pq.write_table(table, tmp_path / "log.parquet")
    tables, _ = read(shop(events={"location": str(tmp_path / "log.parquet")}))
    assert tables.events["user_id"].to_pylist() == ["7", None]
    assert tables.events["item_id"].to_pylist() == ["3", "4"]


def test_numbers_that_are_none_become_null_and_are_counted(shop: Shop) -> None:
    log = "user,item,time,n\n" + "".join(
        f"u,i,2024-01-01,{cell}\n"
        for cell in ("1", "-2.5e1", " 3 ", "many", "", "NaN", "nan", ".5")
    )
    columns = {"user": "user", "item": "item", "time": "time", "value": "n"}
    tables, report = read(shop(log, events={"columns": columns}))
    assert tables.events["value"].to_pylist() == [1.0, -25.0, 3.0, None, None, None, None, 0.5]
    assert [(c.column, c.count, c.example) for c in report.unreadable] == [
        ("n", 1, "log.csv row 4: n = 'many'")
    ]


def test_negative_and_missing_unix_times(shop: Shop) -> None:
    log = "user,item,time\nu,i,1577836800.9\nu,i,-86400\nu,i,NaN\nu,i,\nu,i,1e15\nu,i,1577836801\n"
    tables, report = read(shop(log, events={"time": {"unit": "s"}}))
    assert _iso(tables.events) == [
        "1969-12-31T00:00:00+00:00",
        "2020-01-01T00:00:00.900000+00:00",
        "2020-01-01T00:00:01+00:00",
        None,
        None,
        None,
    ]
    assert [c.example for c in report.unreadable] == ["log.csv row 5: time = '1e15'"]


@pytest.mark.parametrize(
    ("form", "cell", "expected"),
    [
        ({}, "2024-07-01 12:00:00", "2024-07-01T12:00:00+00:00"),
        ({}, "2024-07-01T12:00:00.1239Z", "2024-07-01T12:00:00.123000+00:00"),
        ({}, "2024-07-01T12:00+02:00", "2024-07-01T10:00:00+00:00"),
        ({"zone": "Europe/London"}, "2024-07-01 12:00", "2024-07-01T11:00:00+00:00"),
        ({"zone": "Europe/London"}, "2024-07-01T12:00:00Z", "2024-07-01T12:00:00+00:00"),
        # The hour that comes twice, and the one that never comes.
        ({"zone": "Europe/London"}, "2024-10-27 01:30:00", "2024-10-27T00:30:00+00:00"),
        ({"zone": "Europe/London"}, "2024-03-31 01:30:00", "2024-03-31T01:00:00+00:00"),
        ({"format": "%d/%m/%Y %H:%M"}, "01/07/2024 12:00", "2024-07-01T12:00:00+00:00"),
        ({"format": "%d.%m.%Y %z"}, "01.07.2024 +0200", "2024-06-30T22:00:00+00:00"),
        ({"format": "%Y%m%d"}, "20240701", "2024-07-01T00:00:00+00:00"),
        ({"unit": "ms"}, "1577836800123", "2020-01-01T00:00:00.123000+00:00"),
        ({"unit": "us"}, "1577836800123999", "2020-01-01T00:00:00.123000+00:00"),
        ({"unit": "ns"}, "1577836800123999999", "2020-01-01T00:00:00.123000+00:00"),
    ],
)
def test_moments_in_every_way_of_writing(
    shop: Shop, form: dict[str, str], cell: str, expected: str
) -> None:
    tables, _ = read(shop(f"user,item,time\nu,i,{cell}\n", events={"time": form}))
    assert _iso(tables.events) == [expected]


def test_zones_may_differ_from_row_to_row(shop: Shop) -> None:
    log = "user,item,time\na,i,2024-01-01T12:00:00\nb,i,2024-01-01T12:00:00Z\n"
    tables, _ = read(shop(log, events={"time": {"zone": "America/New_York"}}))
    assert list(zip(tables.events["user_id"].to_pylist(), _iso(tables.events), strict=True)) == [
        ("b", "2024-01-01T12:00:00+00:00"),
        ("a", "2024-01-01T17:00:00+00:00"),
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1, max_size=5),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.booleans(),
)
def test_real_timestamps_keep_their_moment(when: list[datetime], unit: str, aware: bool) -> None:
    kind = pa.timestamp(unit, "UTC" if aware else None)
    column = pa.array([moment.replace(microsecond=0) for moment in when]).cast(kind, safe=False)
    found = moments(_raw(column), "c", TimeFormat(), IngestReport())
    expected = [moment.replace(microsecond=0, tzinfo=UTC) for moment in when]
    assert found.to_pylist() == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_written_as_text_are_the_same_numbers(values: list[float]) -> None:
    found = numbers(_raw(pa.array([repr(value) for value in values])), "c", IngestReport())
    assert found.to_pylist() == values


def test_a_local_timestamp_in_parquet_takes_the_zone(shop: Shop, tmp_path: Path) -> None:
    local = pd.Series(pd.to_datetime(["2024-07-01 12:00:00", None, "2024-01-01 12:00:00"]))
    frame = pd.DataFrame({"user": ["u"] * 3, "item": ["i"] * 3, "time": local})
    frame.to_parquet(tmp_path / "log.parquet")
    config = shop(
        events={"location": str(tmp_path / "log.parquet"), "time": {"zone": "Europe/Berlin"}}
    )
    assert _iso(read(config)[0].events) == [
        "2024-01-01T11:00:00+00:00",
        "2024-07-01T10:00:00+00:00",
        None,
    ]


@pytest.mark.parametrize(
    ("cell", "price"),
    [
        ("12.99", 12.99),
        ("$1,299.50", 1299.5),
        ("12,99 €", 12.99),
        ("1,299", 1299.0),
        ("-3", -3.0),
        ("$9.99 - $19.99", 9.99),
        (".50", 0.5),
    ],
)
def test_prices_in_words(shop: Shop, cell: str, price: float) -> None:
    columns = {"item": "item", "title": "name", "price": "price"}
    catalogue = f'item,name,price\na,A,"{cell}"\nb,B,\n'
    tables, report = read(shop(catalogue=catalogue, items={"columns": columns}))
    assert tables.items["price"].to_pylist() == [price, None]
    assert report.unreadable == []
