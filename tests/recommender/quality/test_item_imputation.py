from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from quality_events import HORIZON, event, item
from quality_tables import START, Row, of_rows

from recommender.config.imputation import ItemImputation
from recommender.quality.imputation import Imputed, fill_items


def items_filled(
    catalogue: list[Row], log: list[Row], **policies: object
) -> tuple[list[Row], tuple[Imputed, ...]]:
    tables = of_rows(log, catalogue, [])
    chosen = ItemImputation.model_validate(policies)
    table, done = fill_items(tables.items, tables.events, chosen, HORIZON)
    return table.to_pylist(), done


def test_prices_are_fitted_only_on_items_known_before_the_first_test_cut() -> None:
    early, late = START + timedelta(hours=1), START + timedelta(hours=300)
    catalogue = [
        item("created before", 2.0, created=early),
        item("seen before", 4.0),
        item("created after", 1000.0, created=late),
        item("seen after", 2000.0),
        item("created after, seen before?", 3000.0, created=late),
        item("asked", None),
    ]
    log = [
        event(1, 1, item_id="seen before"),
        event(2, 2, item_id="created after, seen before?"),
        event(3, 200, item_id="seen after"),
    ]

    rows, done = items_filled(catalogue, log, price="median")

    assert rows[5]["price"] == 3.0
    record = next(r for r in done if r.column == "price")
    assert (record.missing, record.filled, record.left) == (1, 1, 0)


def test_a_constant_category_becomes_the_only_one() -> None:
    catalogue = [item("x", 1.0, categories=None), item("y", 1.0)]
    other = {"policy": "constant", "constant": "other"}

    rows, _ = items_filled(catalogue, [event(1, 1)], categories=other)

    assert [row["categories"] for row in rows] == [["other"], ["c"]]


def priced_catalogue(count: int) -> tuple[list[Row], list[Row]]:
    """Toys cost 5, tools 80; every tenth price is missing."""
    catalogue = [
        item(
            f"i{row}",
            None if row % 10 == 3 else (5.0 if row % 2 else 80.0),
            categories=["toys" if row % 2 else "tools"],
            title="t" * (1 + row % 7),
        )
        for row in range(count)
    ]
    return catalogue, [event(row, row / 10, item_id=f"i{row}") for row in range(count)]


def test_the_price_model_learns_what_the_category_says() -> None:
    catalogue, log = priced_catalogue(200)

    rows, done = items_filled(catalogue, log, price="model")

    asked = [row["price"] for row in rows if int(row["item_id"][1:]) % 10 == 3]
    assert len(asked) == 20
    assert asked == pytest.approx([5.0] * 20, rel=0.05)
    record = next(r for r in done if r.column == "price")
    assert (record.missing, record.filled) == (20, 20)
    assert "gradient boosting on 180 prices" in record.how
    assert "median error on a held-out fifth" in record.how


def test_the_price_model_gives_way_to_the_median_where_few_prices_are_known() -> None:
    catalogue, log = priced_catalogue(30)

    rows, done = items_filled(catalogue, log, price="model")

    known = [row["price"] for row in catalogue if row["price"] is not None]
    assert rows[3]["price"] == float(np.median(known))
    assert "too few" in next(r for r in done if r.column == "price").how


def test_the_price_model_gives_the_mean_where_nothing_tells_items_apart() -> None:
    catalogue = [item(f"i{row}", 9.0 if row else None) for row in range(100)]
    log = [event(row, 1, item_id=f"i{row}") for row in range(100)]

    rows, _ = items_filled(catalogue, log, price="model")

    assert rows[0]["price"] == pytest.approx(9.0)
