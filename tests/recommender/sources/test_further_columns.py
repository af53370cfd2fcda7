"""Further numbers and vectors of items, from raw columns to the tables that are written."""

from __future__ import annotations

import pytest

from recommender.errors import SourceError
from recommender.sources.read import read
from recommender.tables import Tables

CATALOGUE = 'item,name,year,image\ni1,One,1995,"[0.5, -1, 2]"\ni2,Two,soon,1;2;3\ni3,Three,,\n'
LOG = "user,item,time\nu1,i1,2024-01-01\nu2,i2,2024-01-02\nu2,i3,2024-01-02\n"


def mapped(shop, catalogue=CATALOGUE, **columns):
    told = {"item": "item", "title": "name", "numbers": {"year": "year"}, "vectors": {}} | columns
    return shop(LOG, catalogue, items={"columns": told})


def test_numbers_and_vectors_are_read_by_name_and_come_back_from_the_file(shop, tmp_path):
    tables, report = read(mapped(shop, numbers={"year": "year"}, vectors={"image": "image"}))
    rows = {row["item_id"]: row for row in tables.items.to_pylist()}
    assert rows["i1"]["numbers"] == [("year", 1995.0)]
    assert rows["i1"]["vectors"] == [("image", [0.5, -1.0, 2.0])]
    assert (rows["i2"]["numbers"], rows["i2"]["vectors"]) == ([], [("image", [1.0, 2.0, 3.0])])
    assert (rows["i3"]["numbers"], rows["i3"]["vectors"]) == ([], [])
    assert [(each.column, each.count) for each in report.unreadable] == [("year", 1)]
    tables.write(tmp_path)
    assert Tables.read(tmp_path).items.equals(tables.items)


def test_tables_without_them_have_no_columns_for_them(shop, tmp_path):
    tables, _ = read(mapped(shop, numbers={}))
    tables.write(tmp_path)
    assert not {"numbers", "vectors"} & set(Tables.read(tmp_path).items.column_names)


def test_vectors_of_two_widths_and_a_column_of_words_are_refused(shop):
    uneven = "item,name,image\ni1,One,1 2\ni2,Two,1 2 3\ni3,Three,1 2\n"
    with pytest.raises(SourceError, match=r"different widths: \[2, 3\]"):
        read(mapped(shop, uneven, numbers={}, vectors={"image": "image"}))
    with pytest.raises(SourceError, match="should hold a vector"):
        read(mapped(shop, numbers={}, vectors={"image": "name"}))
