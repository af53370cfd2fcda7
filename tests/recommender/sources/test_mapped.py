"""What a mapping makes of ordinary and of odd rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recommender.config import Config
from recommender.sources.read import read
from recommender.tables import EVENTS, ITEMS, USERS, relaxed

Shop = Callable[..., Config]


def _iso(table: pa.Table) -> list[str | None]:
    return [t and t.isoformat() for t in table["time"].to_pylist()]


def test_the_tables_have_the_canonical_schemas(shop: Shop) -> None:
    tables, report = read(shop())
    assert tables.events.schema.equals(relaxed(EVENTS))
    assert tables.items.schema.equals(relaxed(ITEMS))
    assert tables.users.schema.equals(relaxed(USERS))
    assert report.rows_read == {"events": 2, "items": 2}
    assert report.rows_kept == {"events": 2, "items": 2, "users": 2}


def test_one_row_is_enough(shop: Shop) -> None:
    tables, _ = read(shop("user,item,time\nu,i,2024-01-01\n", "item,name\ni,One\n"))
    assert tables.events.num_rows == tables.items.num_rows == tables.users.num_rows == 1


def test_what_validation_judges_is_left_as_it_is(shop: Shop) -> None:
    log = (
        "user,item,time\nu1,i1,2024-01-01\nu1,i1,2024-01-01\nu2,unknown,2024-01-01\n"
        ",i1,2024-01-02\nu1,,2024-01-03\nu1,i1,9999-12-31\nu1,i1,1960-05-05\n"
        "u1,i1,not a time\nu1,i1,\n"
    )
    tables, report = read(shop(log))
    assert tables.events.num_rows == 9
    assert report.dropped == []
    assert tables.events["user_id"].null_count == 1
    assert tables.events["item_id"].null_count == 1
    assert _iso(tables.events)[0] == "1960-05-05T00:00:00+00:00"
    assert _iso(tables.events)[6] == "9999-12-31T00:00:00+00:00"
    assert _iso(tables.events)[7:] == [None, None]
    (cell,) = report.unreadable
    assert (cell.column, cell.count, cell.wanted) == ("time", 1, "moments in ISO 8601")
    assert cell.example == "log.csv row 8: time = 'not a time'"


def test_ties_in_time_keep_the_order_of_the_rows_over_all_files(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for day in (2, 1):
        rows = "".join(f"u,d{day}-{i},2024-01-01\n" for i in range(20))
        (folder / f"day-{day}.csv").write_text("user,item,time\n" + rows)
    (folder / "notes.txt").write_text("not meant")
    config = shop(events={"location": str(folder), "pattern": "day-*.csv"})
    tables, _ = read(config)
    assert tables.events["item_id"].to_pylist() == [f"d{d}-{i}" for d in (1, 2) for i in range(20)]
    ids = tables.events["event_id"].to_pylist()
    assert ids == sorted(ids)
    assert ids[25] == "000000000025"


def test_own_event_ids_decide_ties(shop: Shop) -> None:
    log = "id,user,item,time\nb,u,second,2024-01-02\na,u,first,2024-01-02\nc,u,zeroth,2024-01-01\n"
    columns = {"user": "user", "item": "item", "time": "time", "event_id": "id"}
    tables, _ = read(shop(log, events={"columns": columns}))
    assert tables.events["item_id"].to_pylist() == ["zeroth", "first", "second"]


def test_impressions_carry_surface_position_and_propensity(shop: Shop) -> None:
    log = (
        "user,item,time,page,rank,p\nu,i,2024-01-01,home,3,0.25\nu,i,2024-01-02,,2.5,\n"
        "u,i,2024-01-03,home,1,1\n"
    )
    columns = {
        "user": "user",
        "item": "item",
        "time": "time",
        "surface": "page",
        "position": "rank",
        "propensity": "p",
    }
    tables, report = read(shop(log, events={"columns": columns}))
    rows = [(e["surface"], e["position"], e["propensity"]) for e in tables.events.to_pylist()]
    assert rows == [("home", 3, 0.25), (None, None, None), ("home", 1, 1.0)]
    assert [(c.column, c.wanted) for c in report.unreadable] == [("rank", "a whole number")]


KINDS = "user,item,time,kind,n\n" + "".join(
    f"u,i,2024-01-01,{kind},{n}\n"
    for kind, n in [("buy", 3), ("Cbuy", 3), ("look", 5), ("look", 1), ("", 9), ("odd", "x")]
)


def test_the_first_rule_that_holds_gives_the_event_type(shop: Shop) -> None:
    rules = [
        {"event": "return", "when": {"column": "kind", "starts_with": "C"}},
        {"event": "purchase", "when": {"column": "kind", "equals": ["buy", "order"]}},
        {"event": "like", "when": {"column": "n", "at_least": 5, "below": 6}},
        {"event": "cart", "when": {"column": "kind", "is_missing": True}},
        {"event": "rate", "when": {"column": "kind", "matches": "^lo+k$"}},
    ]
    tables, report = read(shop(KINDS, events={"types": {"rules": rules}}))
    found = tables.events["event"].to_pylist()
    assert found == ["purchase", "return", "like", "rate", "cart"]
    (untyped,) = report.dropped
    assert (untyped.reason, untyped.count) == ("no rule gives an event type", 1)
    assert "row 6: kind = 'odd'" in untyped.example


def test_event_types_from_a_column_are_renamed(shop: Shop) -> None:
    types = {"column": "kind", "rename": {"buy": "purchase", "Cbuy": "purchase", "look": "view"}}
    tables, _ = read(shop(KINDS, events={"types": types}))
    found = tables.events["event"].to_pylist()
    assert found == ["purchase", "purchase", "view", "view", None, "odd"]


def test_rows_are_dropped_rule_by_rule_and_counted_once(shop: Shop) -> None:
    drop = [
        {"reason": "five", "column": "n", "at_least": 5},
        {"reason": "cancelled or seen", "column": "kind", "not_matching": "^buy$"},
        {"reason": "never", "column": "n", "above": 100},
    ]
    tables, report = read(shop(KINDS, events={"drop": drop}))
    assert tables.events["event_id"].to_pylist() == ["000000000000"]
    assert [(d.reason, d.count) for d in report.dropped] == [("five", 2), ("cancelled or seen", 3)]
    assert report.dropped[1].example == "log.csv row 2: kind = 'Cbuy'"


def test_user_ids_are_not_shown_in_the_report(shop: Shop) -> None:
    drop = [{"reason": "a test user", "column": "user", "equals": ["u1"]}]
    _, report = read(shop(events={"drop": drop}))
    assert report.dropped[0].example == "log.csv row 1: user = …"


def test_a_derived_catalogue_takes_what_the_log_said_first_of_an_item(shop: Shop) -> None:
    log = (
        "user,item,time,name,price,shelf\n"
        "u,b,2024-01-03,mug?,2,kitchen\nu,b,2024-01-04,mug?,9,hall\n"
        "u,b,2024-01-01,Mug,,\nu,a,2024-01-01,,5,\nu,a,2024-01-02,,6,\n,,2024-01-01,lost,1,\n"
    )
    columns = {"item": "item", "title": "name", "price": "price", "categories": "shelf"}
    derived = {"location": "", "columns": columns}
    tables, _ = read(shop(log, items=derived))
    assert tables.items.select(["item_id", "title", "price", "categories"]).to_pylist() == [
        {"item_id": "a", "title": None, "price": 5.0, "categories": None},
        {"item_id": "b", "title": "Mug", "price": 2.0, "categories": ["kitchen"]},
    ]
    later = log + "u,b,2024-02-01,MUG new,7,bath\n" * 9
    assert read(shop(later, items=derived))[0].items.equals(tables.items), (
        "nothing reads the future"
    )


def test_attributes_of_users_come_from_their_file_or_from_the_log(
    shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "users.csv").write_text("id,age,city\nu1,1,Rome\nu9,,\n")
    users = {
        "location": str(tmp_path / "users.csv"),
        "user": "id",
        "attributes": ["age", "city"],
        "labels": {"age": {"1": "young"}},
    }
    tables, _ = read(shop(users=users))
    assert tables.users.to_pylist() == [
        {"user_id": "u1", "attributes": [("age", "young"), ("city", "Rome")]},
        {"user_id": "u9", "attributes": []},
        {"user_id": "u2", "attributes": []},
    ]
    log = "user,item,time,city\nu,i,2024-01-01,Rome\nu,i,2024-01-01,Oslo\nu,i,2024-01-01,Oslo\n"
    tables, _ = read(shop(log, users={"user": "user", "attributes": ["city"]}))
    assert tables.users.to_pylist() == [{"user_id": "u", "attributes": [("city", "Rome")]}]


def test_texts_are_put_together_by_template(shop: Shop) -> None:
    catalogue = "item,name,size,kind,maker\na,Mug,L,cup|gift,Acme\nb,,,,\nc,Pen,,tool,\n"
    columns = {
        "item": "item",
        "title": "{name}, size {size}",
        "categories": "kind",
        "separator": "|",
        "brand": "maker",
    }
    tables, _ = read(shop(catalogue=catalogue, items={"columns": columns}))
    assert tables.items["title"].to_pylist() == ["Mug, size L", None, "Pen, size"]
    assert tables.items["text"].to_pylist() == [
        "Mug, size L. cup, gift. Acme",
        None,
        "Pen, size. tool",
    ]


def test_delimiters_headers_and_words_for_missing(shop: Shop) -> None:
    log = "u1;i1;2024-01-01;NULL\nu2;i2;2024-01-02;3\n"
    columns = {"user": "who", "item": "what", "time": "when", "value": "n"}
    form = {"delimiter": ";", "header": ["who", "what", "when", "n"], "missing": ["NULL"]}
    tables, report = read(shop(log, events=form | {"columns": columns}))
    assert tables.events["value"].to_pylist() == [None, 3.0]
    assert report.unreadable == []


def test_cells_with_new_lines_and_quotes(shop: Shop) -> None:
    catalogue = 'item,name\na,"A ""big"" mug,\nwith lid"\n'
    tables, _ = read(shop(catalogue=catalogue))
    assert tables.items["title"].to_pylist() == ['A "big" mug, with lid']


def test_logs_in_parts_of_different_formats_are_one(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("user,item,time\n1,i,2024-01-01\n")
    pq.write_table(
        pa.table({"user": [2], "item": ["i"], "time": ["2024-01-02"]}), folder / "b.parquet"
    )
    (folder / "c.jsonl").write_text('{"user": 3, "item": "i", "time": "2024-01-03"}\n')
    tables, report = read(shop(events={"location": str(folder)}))
    assert tables.events["user_id"].to_pylist() == ["1", "2", "3"]
    assert [file.name for file in report.files] == ["a.csv", "b.parquet", "c.jsonl", "items.csv"]


def test_a_source_on_s3_is_read_like_one_on_disk(shop: Shop, s3_bucket: str) -> None:
    import boto3

    config = shop()
    client = boto3.client("s3")
    for name in ("log.csv", "items.csv"):
        path = Path(config.source.events.location).with_name(name)
        client.upload_file(str(path), s3_bucket, f"raw/{name}")
    remote = shop(
        events={"location": f"s3://{s3_bucket}/raw/log.csv"},
        items={"location": f"s3://{s3_bucket}/raw", "pattern": "items.*"},
    )
    assert read(remote)[0] == read(config)[0]
