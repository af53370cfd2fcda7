"""The mappings in configs/ read the layouts they are for; only the location is changed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from recommender.config import Config, load
from recommender.errors import SourceError
from recommender.sources.read import read

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid_and_travels(path: Path) -> None:
    config = load(path)
    assert Config.from_json(config.to_json()) == config


def _config(name: str, folder: Path, workspace: Path) -> Config:
    overrides = {"workspace": str(workspace), "source.events.location": str(folder)}
    shipped = load(CONFIGS / f"{name}.yaml")
    if shipped.source.items.location:
        overrides["source.items.location"] = str(folder)
    return load(CONFIGS / f"{name}.yaml", overrides)


def _json_lines(path: Path, rows: list[dict[str, object]]) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


REVIEWS_2023 = [
    {
        "rating": 5.0,
        "title": "Such a lovely scent",
        "text": "This spray is really nice.",
        "images": [],
        "asin": "B00YQ6X8EO",
        "parent_asin": "B00YQ6X8EO",
        "user_id": "AGKHLEW2SOWHNMFQIJGBECAF7INQ",
        "timestamp": 1588687728923,
        "helpful_vote": 0,
        "verified_purchase": True,
    },
    {"rating": 2, "parent_asin": "B081TJ8YS3", "user_id": "AG", "timestamp": 1588615855070},
]
META_2023 = [
    {
        "main_category": "All Beauty",
        "title": "Howard Products LC0008 Leather Conditioner",
        "average_rating": 4.8,
        "features": ["Cleans", "Conditions"],
        "description": ["Good for", "leather."],
        "price": 12.99,
        "store": "Howard Products",
        "categories": ["Beauty", " Care ", "Beauty"],
        "details": {"Weight": "1 pound"},
        "parent_asin": "B00YQ6X8EO",
    },
    {
        "title": "Yes to Tomatoes",
        "features": [],
        "description": [],
        "price": "None",
        "store": None,
        "categories": [],
        "parent_asin": "B081TJ8YS3",
    },
    {"title": "Never reviewed", "price": "$3.50", "parent_asin": "B0UNSOLD"},
]


def test_amazon_reviews_of_2023(tmp_path: Path) -> None:
    _json_lines(tmp_path / "All_Beauty.jsonl.gz", REVIEWS_2023)
    _json_lines(tmp_path / "meta_All_Beauty.jsonl", META_2023)
    tables, report = read(_config("amazon", tmp_path, tmp_path / "workspace"))
    later = tables.events.to_pylist()[1]
    assert later["user_id"] == "AGKHLEW2SOWHNMFQIJGBECAF7INQ"
    assert later["time"].isoformat(timespec="milliseconds") == "2020-05-05T14:08:48.923+00:00"
    assert tables.events["event"].to_pylist() == ["rate", "like"]
    conditioner, tomatoes = tables.items.to_pylist()
    assert conditioner["price"] == 12.99
    assert conditioner["categories"] == ["Beauty", "Care"]
    assert conditioner["brand"] == "Howard Products"
    assert conditioner["text"] == (
        "Howard Products LC0008 Leather Conditioner. Howard Products. "
        "Cleans Conditions Good for leather."
    )
    assert (tomatoes["price"], tomatoes["brand"], tomatoes["categories"]) == (None, None, [])
    assert report.unreadable == []
    (unsold,) = report.dropped
    assert (unsold.table, unsold.count) == ("items", 1)
    assert "B0UNSOLD" in unsold.example


REVIEWS_2018 = [
    {
        "overall": 5.0,
        "verified": True,
        "reviewTime": "01 1, 2018",
        "reviewerID": "A1VXOAVRGKGEAK",
        "asin": "0439893577",
        "reviewText": "I like it.",
        "unixReviewTime": 1514764800,
        "vote": "2",
    },
    {"overall": 3.0, "reviewerID": "A2", "asin": "B001", "unixReviewTime": 1514678400},
]
META_2018 = [
    {
        "category": ["All Beauty"],
        "description": ["Loud 'N Clear allows you to", "hear it."],
        "title": "Loud 'N Clear",
        "brand": "idea village",
        "price": "$1,012.99",
        "asin": "0439893577",
    },
    # The scrape left ranges, style sheets and empty texts in this column.
    {"category": [], "title": "", "price": "$9.99 - $19.99", "asin": "B001"},
    {"title": "x", "price": ".a-box-inner{background-color:#fff} #a {float:left} 12", "asin": "B2"},
]


def test_amazon_reviews_of_2018_with_prices_in_words(tmp_path: Path) -> None:
    _json_lines(tmp_path / "All_Beauty.json.gz", [*REVIEWS_2018, REVIEWS_2018[1] | {"asin": "B2"}])
    _json_lines(tmp_path / "meta_All_Beauty.json.gz", META_2018)
    tables, report = read(_config("amazon-2018", tmp_path, tmp_path / "workspace"))
    assert tables.events["event"].to_pylist() == ["rate", "rate", "like"]
    assert tables.events["time"].to_pylist()[2].isoformat() == "2018-01-01T00:00:00+00:00"
    items = {item["item_id"]: item for item in tables.items.to_pylist()}
    assert [items[i]["price"] for i in ("0439893577", "B001", "B2")] == [1012.99, 9.99, None]
    assert items["B001"]["title"] is None
    assert items["0439893577"]["text"].startswith("Loud 'N Clear. idea village. Loud 'N Clear all")
    (price,) = report.unreadable
    assert (price.column, price.count) == ("price", 1)
    assert "meta_All_Beauty.json.gz row 3" in price.example


def test_amazon_of_2014_with_numeric_prices_and_nested_categories(tmp_path: Path) -> None:
    _json_lines(tmp_path / "All_Beauty.json", REVIEWS_2018)
    old = {"categories": [["Beauty", "Care"], ["Beauty", "Hair"]], "title": "T", "price": 7.5}
    rows = [old | {"asin": "0439893577"}, {"asin": "B001", "title": "U", "description": "only"}]
    _json_lines(tmp_path / "meta_All_Beauty.json", rows)
    config = _config("amazon-2018", tmp_path, tmp_path / "workspace")
    tree = config.model_dump(mode="json")
    tree["source"]["items"]["columns"] |= {
        "categories": "categories",
        "brand": None,
        "text": "{title} {description}",
    }
    tables, _ = read(Config.model_validate(tree))
    first, second = tables.items.to_pylist()
    assert first["categories"] == ["Beauty", "Care", "Hair"]
    assert first["price"] == 7.5
    assert second["text"] == "U only"


def test_metadata_that_is_python_rather_than_json_is_said(tmp_path: Path) -> None:
    _json_lines(tmp_path / "All_Beauty.json", REVIEWS_2018)
    (tmp_path / "meta_All_Beauty.json").write_text("{'asin': 'B001', 'title': 'U'}\n")
    with pytest.raises(SourceError, match=r"meta_All_Beauty\.json: line 1 is not JSON") as caught:
        read(_config("amazon-2018", tmp_path, tmp_path / "workspace"))
    assert "Python literal" in caught.value.hint


def test_retailrocket_with_properties_in_two_files(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n"
        "1433222276276,599528,transaction,356475,4000\n"
    )
    (tmp_path / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n"
        "1435460400000,355908,categoryid,1338\n"
        "1441508400000,355908,888,1116713 960601 n277.200\n"
        "1433041200000,248676,categoryid,9\n"
    )
    (tmp_path / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n"
        # Older than what part 1 says, though it comes later.
        "1433041200000,355908,categoryid,7\n"
        "1433646000000,356475,available,0\n"
        "1433646000000,1,categoryid,3\n"
    )
    (tmp_path / "category_tree.csv").write_text("categoryid,parentid\n1016,213\n")
    tables, report = read(_config("retailrocket", tmp_path, tmp_path / "workspace"))
    assert tables.events["event"].to_pylist() == ["view", "purchase", "cart"]
    items = {item["item_id"]: item for item in tables.items.to_pylist()}
    assert items["355908"]["categories"] == ["1338"]
    assert items["355908"]["title"] == "Item 355908 of category 1338"
    assert items["248676"]["text"] == "category 9"
    assert items["356475"]["text"] is None
    assert "1" not in items
    assert [(d.table, d.count) for d in report.dropped] == [("items", 1)]


def test_a_property_that_no_row_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("timestamp,visitorid,event,itemid\n1433221332117,1,view,2")
    (tmp_path / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n1435460400000,2,category,1338\n"
    )
    with pytest.raises(
        SourceError, match=r"no row of .* has the property 'categoryid'.*'category'"
    ):
        read(_config("retailrocket", tmp_path, tmp_path / "workspace"))


# Real lines of the published table, with one of each oddity.
INVOICES = pd.DataFrame(
    [
        ("489434", "85048", "15CM CHRISTMAS GLASS BALL 20 LIGHTS", 12, 6.95, 13085.0),
        ("489434", "85048", None, 2, 6.95, 13085.0),
        ("489435", "85048", "15CM CHRISTMAS GLASS BALL 20 LIGHTS", 1, 7.95, 12346.0),
        ("C489449", "22087", "PAPER BUNTING WHITE LACE", -12, 2.95, 16321.0),
        ("489436", "POST", "POSTAGE", 1, 18.0, 13085.0),
        ("489464", "21733", "85123a mixed", -96, 0.0, None),
        ("489465", "22087", "PAPER BUNTING WHITE LACE", 5, 0.0, 13085.0),
    ],
    columns=["Invoice", "StockCode", "Description", "Quantity", "Price", "Customer ID"],
).assign(InvoiceDate="2010-07-01 07:45:00", Country="United Kingdom")


def _check_invoices(config: Config) -> None:
    tables, report = read(config)
    events = tables.events.to_pylist()
    assert [(e["user_id"], e["item_id"], e["event"], e["value"]) for e in events] == [
        ("13085", "85048", "purchase", 12.0),
        ("13085", "85048", "purchase", 2.0),
        ("12346", "85048", "purchase", 1.0),
        ("16321", "22087", "return", -12.0),
    ]
    # British summer time: an hour before UTC.
    assert {e["time"].isoformat() for e in events} == {"2010-07-01T06:45:00+00:00"}
    assert [(d.reason.split(" (")[0], d.count) for d in report.dropped] == [
        ("no customer", 1),
        ("not a product", 1),
        ("price is zero or less", 1),
    ]
    assert [(i["item_id"], i["title"], i["price"]) for i in tables.items.to_pylist()] == [
        ("22087", "PAPER BUNTING WHITE LACE", 2.95),
        ("85048", "15CM CHRISTMAS GLASS BALL 20 LIGHTS", 6.95),
    ]
    assert tables.users.to_pylist()[0] == {
        "user_id": "12346",
        "attributes": [("Country", "United Kingdom")],
    }


def test_online_retail_as_parquet(tmp_path: Path) -> None:
    INVOICES.to_parquet(tmp_path / "retail.parquet")
    _check_invoices(_config("online-retail", tmp_path, tmp_path / "workspace"))


def test_online_retail_as_csv_with_customers_as_fractions(tmp_path: Path) -> None:
    INVOICES.to_csv(tmp_path / "retail.csv", index=False)
    assert "13085.0" in (tmp_path / "retail.csv").read_text()
    _check_invoices(_config("online-retail", tmp_path, tmp_path / "workspace"))


def test_online_retail_as_the_original_workbook_with_a_sheet_a_year(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    cells = INVOICES.assign(InvoiceDate=pd.to_datetime(INVOICES["InvoiceDate"]))
    with pd.ExcelWriter(raw / "online_retail_II.xlsx") as writer:
        cells[:3].to_excel(writer, sheet_name="Year 2009-2010", index=False)
        cells[3:].to_excel(writer, sheet_name="Year 2010-2011", index=False)
    _check_invoices(_config("online-retail", raw, tmp_path / "workspace"))


@pytest.mark.needs_data
def test_the_real_online_retail_has_known_counts(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "online-retail-ii"
    tables, report = read(_config("online-retail", folder, tmp_path / "workspace"))
    assert report.rows_read["events"] == 525_461
    assert {d.reason.split(" (")[0]: d.count for d in report.dropped} == {
        "no customer": 107_927,
        "not a product": 1_800,
        "price is zero or less": 28,
    }
    assert tables.events.num_rows == 525_461 - 107_927 - 1_800 - 28
    counts = {v["values"]: v["counts"] for v in tables.events["event"].value_counts().to_pylist()}
    assert counts == {"purchase": 406_311, "return": 9_395}
    assert (tables.items.num_rows, tables.users.num_rows) == (4_022, 4_314)
    assert tables.events["time"].null_count == 0
    assert tables.items["title"].null_count == 0
    items = {item["item_id"]: item for item in tables.items.to_pylist()}
    assert items["85123A"]["title"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert items["85123A"]["price"] == 2.95


@pytest.mark.needs_data
def test_what_every_ingested_user_and_item_refers_to_exists(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "online-retail-ii"
    tables, _ = read(_config("online-retail", folder, tmp_path / "workspace"))
    for name, table in (("item_id", tables.items), ("user_id", tables.users)):
        ids = set(table[name].to_pylist())
        assert len(ids) == table.num_rows
        assert set(tables.events[name].to_pylist()) == ids
