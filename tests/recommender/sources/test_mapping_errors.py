"""A wrong file or a wrong mapping is said by name, row count and example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommender.config import Config, parse
from recommender.errors import ConfigError, SourceError
from recommender.sources.read import Source, read

Shop = Callable[..., Config]


def test_a_missing_column_names_those_there_and_the_nearest(shop: Shop) -> None:
    columns = {"user": "User_Id", "item": "item", "time": "time"}
    config = shop("user_id,item,time\nu,i,2024-01-01\n", events={"columns": columns})
    with pytest.raises(SourceError) as caught:
        read(config)
    assert "log.csv lacks the column 'User_Id' that source.events maps" in caught.value.message
    assert "it has 'user_id', 'item', 'time'" in caught.value.message
    assert "did you mean 'user_id'?" in caught.value.hint


def test_all_headers_are_looked_at_before_the_log_is_read(shop: Shop) -> None:
    log = "user,item,time\nu,i,no time at all\n"
    columns = {"item": "item_id", "title": "name"}
    with pytest.raises(SourceError, match=r"items\.csv lacks the column 'item_id'"):
        read(shop(log, items={"columns": columns}))


def test_a_wrong_type_says_column_count_and_example(shop: Shop) -> None:
    columns = {"user": "user", "item": "item", "time": "time", "value": "user"}
    with pytest.raises(SourceError) as caught:
        read(shop(events={"columns": columns}))
    assert "column 'user' should hold a number, but 2 of its 2 cells don't" in caught.value.message
    assert "log.csv row 1" in caught.value.message


def test_a_time_column_that_holds_something_else_says_so(shop: Shop) -> None:
    columns = {"user": "user", "item": "item", "time": "user"}
    with pytest.raises(SourceError, match="'user' should hold moments in ISO 8601") as caught:
        read(shop(events={"columns": columns}))
    assert "row 1: user = 'u1'" not in caught.value.message  # a user id is shown to nobody
    assert "time.format" in caught.value.hint


def test_numbers_as_time_need_a_unit(shop: Shop) -> None:
    log = "user,item,time\nu,i,1577836800\nu,i,1577836900\n"
    with pytest.raises(SourceError, match=r"whose unit isn't known.*time = '1577836800'"):
        read(shop(log))
    tables, _ = read(shop(log, events={"time": {"unit": "s"}}))
    assert tables.events["time"].to_pylist()[0].isoformat() == "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(("unit", "cell"), [("ms", "1577836800"), ("us", "1577836800000")])
def test_a_unit_that_is_too_fine_is_noticed(shop: Shop, unit: str, cell: str) -> None:
    log = f"user,item,time\nu,i,{cell}\n"
    with pytest.raises(SourceError, match="first weeks of 1970") as caught:
        read(shop(log, events={"time": {"unit": unit}}))
    assert "2020" in caught.value.hint


def test_a_unit_that_is_too_coarse_is_noticed(shop: Shop) -> None:
    log = "user,item,time\nu,i,1577836800000\n"
    with pytest.raises(SourceError, match="1 of its 1 cells don't") as caught:
        read(shop(log, events={"time": {"unit": "s"}}))
    assert "unit" in caught.value.hint


@pytest.mark.parametrize("content", ["", "\n\n", "user,item,time\n"])
def test_an_empty_file_is_said(shop: Shop, content: str) -> None:
    with pytest.raises(SourceError, match=r"log\.csv (is empty|has column names but no rows)"):
        read(shop(content))


@pytest.mark.parametrize("name", ["log.parquet", "log.xlsx", "log.jsonl"])
def test_an_empty_file_of_any_format_is_said(shop: Shop, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(SourceError, match="is empty"):
        read(shop(events={"location": str(tmp_path / name)}))


@pytest.mark.parametrize("name", ["log.parquet", "log.xlsx", "log.csv.gz"])
def test_a_damaged_file_is_said(shop: Shop, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b no such thing" * 10)
    with pytest.raises(SourceError, match=rf"{name} (is not a readable|can't be read)"):
        read(shop(events={"location": str(tmp_path / name)}))


def test_a_truncated_parquet_file_is_said(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pd.DataFrame({"user": ["u"], "item": ["i"], "time": ["2024-01-01"]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"log\.parquet is not a readable Parquet file"):
        read(shop(events={"location": str(path)}))


def test_a_file_that_can_not_be_read_is_said(shop: Shop, tmp_path: Path) -> None:
    """The kernel refuses this one to everybody, where permissions would let root pass."""
    (tmp_path / "log.csv").symlink_to("/proc/self/mem")
    with pytest.raises(SourceError, match=r"log\.csv can't be read: Input/output error"):
        read(shop(events={"location": str(tmp_path / "log.csv")}))


def test_a_ragged_line_is_said(shop: Shop) -> None:
    with pytest.raises(SourceError, match=r"Expected 3 columns, got 4: u,i,2024-01-01,x"):
        read(shop("user,item,time\nu,i,2024-01-01\nu,i,2024-01-01,x\n"))


def test_another_encoding_names_file_line_byte_and_key(shop: Shop) -> None:
    log = "user,item,time\nu,i,2024-01-01\n"
    catalogue = "item,name\ni,Kaffee\nj,Käse\n".encode("latin-1")
    with pytest.raises(SourceError) as caught:
        read(shop(log, catalogue))
    assert "items.csv: line 3 is not utf-8 text (byte 0xe4 at offset 22)" in caught.value.message
    assert "encoding: latin-1" in caught.value.hint
    tables, _ = read(shop(log, catalogue, items={"encoding": "latin-1"}))
    assert tables.items["title"].to_pylist() == ["Kaffee", "Käse"]


def test_another_encoding_is_found_far_into_a_packed_json_file(shop: Shop, tmp_path: Path) -> None:
    import gzip

    good = b'{"user": "u", "item": "i", "time": "2024-01-01"}\n'
    with gzip.open(tmp_path / "log.jsonl.gz", "wb") as stream:
        stream.write(good * 50_000 + good.replace(b'"i"', b'"\xe9"'))
    with pytest.raises(SourceError, match=r"line 50001 is not utf-8 text \(byte 0xe9"):
        read(shop(events={"location": str(tmp_path / "log.jsonl.gz")}))
    location = {"location": str(tmp_path / "log.jsonl.gz"), "encoding": "latin-1"}
    tables, _ = read(shop(events=location))
    assert tables.events["item_id"].to_pylist()[-1] == "é"


def test_utf_16_with_its_mark_is_read(shop: Shop) -> None:
    log = "user,item,time\nü,i,2024-01-01\n".encode("utf-16")
    tables, _ = read(shop(log, events={"encoding": "utf-16"}))
    assert tables.events["user_id"].to_pylist() == ["ü"]


def test_a_json_line_that_is_none_names_its_number(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = '{"user": "u", "item": "i", "time": "2024-01-01"}\n'
    path.write_text(good * 5_000 + good[:-5])
    with pytest.raises(SourceError, match=r"log\.jsonl: line 5001 is not JSON"):
        read(shop(events={"location": str(path)}))
    path.write_text(good + "[1, 2]\n")
    with pytest.raises(SourceError, match=r"line 2 is not a JSON object but '\[1, 2\]'"):
        read(shop(events={"location": str(path)}))


def test_a_parquet_column_of_structures_is_said(shop: Shop, tmp_path: Path) -> None:
    table = pa.table({"user": [{"id": 1}], "item": ["i"], "time": ["2024-01-01"]})
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(SourceError, match="column 'user' holds struct"):
        read(shop(events={"location": str(tmp_path / "log.parquet")}))


def test_an_unknown_ending_asks_for_the_format(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "log.export").write_text("user,item,time\nu,i,2024-01-01\n")
    where = {"location": str(tmp_path / "log.export")}
    with pytest.raises(SourceError, match=r"can't tell the format by the ending '\.export'"):
        read(shop(events=where))
    assert read(shop(events=where | {"format": "csv"}))[0].events.num_rows == 1


def test_excel_without_its_package_says_how_to_get_it(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.DataFrame({"user": ["u"]}).to_excel(tmp_path / "log.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)  # import raises ImportError
    with pytest.raises(SourceError, match="needs the package openpyxl") as caught:
        read(shop(events={"location": str(tmp_path / "log.xlsx")}))
    assert "pip install openpyxl" in caught.value.hint


def test_sheets_with_other_columns_are_said(shop: Shop, tmp_path: Path) -> None:
    with pd.ExcelWriter(tmp_path / "log.xlsx") as writer:
        pd.DataFrame({"user": ["u"]}).to_excel(writer, sheet_name="a", index=False)
        pd.DataFrame({"client": ["u"]}).to_excel(writer, sheet_name="b", index=False)
    with pytest.raises(SourceError, match=r"sheet 'b' has other columns \(client\) than 'a'"):
        read(shop(events={"location": str(tmp_path / "log.xlsx")}))


def test_rules_that_leave_nothing_say_what_left(shop: Shop) -> None:
    drop = [{"reason": "no such users", "column": "user", "starts_with": "u"}]
    with pytest.raises(SourceError, match=r"no event is left of 2 rows \(no such users: 2\)"):
        read(shop(events={"drop": drop}))


def test_a_catalogue_of_other_ids_is_said(shop: Shop) -> None:
    config = shop(catalogue="item,name\n7,Seven\n", items={"only_with_events": True})
    with pytest.raises(SourceError, match="no item is left of 1 rows") as caught:
        read(config)
    assert "ids" in caught.value.hint


def test_event_types_that_the_configuration_lacks_are_said_before_reading(shop: Shop) -> None:
    types = {"rules": [{"event": "veiw"}]}
    with pytest.raises(SourceError, match=r"event type 'veiw', which actions\.types lacks"):
        Source.open(shop(events={"types": types}))


def test_a_log_of_only_unknown_event_types_is_said(shop: Shop) -> None:
    log = "user,item,time,kind\nu,i,2024-01-01,klick\nu,i,2024-01-02,klick\n"
    with pytest.raises(SourceError, match=r"the log has klick \(2\)"):
        read(shop(log, events={"types": {"column": "kind"}}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"types": {}}, "types: needs either column or rules"),
        ({"types": {"column": "a", "rules": [{"event": "view"}]}}, "needs either column or rules"),
        ({"encoding": "utf-99"}, "encoding: 'utf-99' is not a text encoding"),
        ({"time": {"zone": "Mars/Olympus"}}, "time.zone: 'Mars/Olympus' is not a time zone"),
        ({"time": {"unit": "h"}}, "time.unit"),
        ({"sha256": "abc"}, "sha256"),
        ({"drop": [{"reason": "x", "column": "a"}]}, "drop.0: tests nothing"),
        ({"drop": [{"reason": "x", "column": "a", "matches": "("}]}, "not a regular expression"),
        ({"colums": {}}, "colums: unknown key"),
    ],
)
def test_a_wrong_key_is_named_with_its_path(
    shop: Shop, change: dict[str, object], said: str
) -> None:
    tree = shop().model_dump(mode="json")
    tree["source"]["events"] |= change
    with pytest.raises(ConfigError) as caught:
        parse(tree, "my.yaml")
    assert said in caught.value.message
    assert "  source.events." in caught.value.message


@pytest.mark.parametrize("template", ["{name", "name}", "{}", "{name!r}", "{name:>10}"])
def test_a_wrong_template_is_named(shop: Shop, template: str) -> None:
    with pytest.raises(ConfigError, match="title"):
        shop(items={"columns": {"item": "item", "title": template}})
