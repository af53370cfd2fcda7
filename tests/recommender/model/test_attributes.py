import numpy as np
import pyarrow as pa

from recommender.model.attributes import PRICE_BUCKETS, ItemAttributes
from recommender.tables import ITEMS


def catalogue(categories, brands, prices):
    size = len(prices)
    empty = {name: [None] * size for name in ("title", "text", "created")}
    ids = [f"i{row}" for row in range(size)]
    columns = {"item_id": ids, "categories": categories, "brand": brands, "price": prices, **empty}
    return pa.table({name: columns[name] for name in ITEMS.names}, ITEMS)


def columns_of(items, known, width):
    return ItemAttributes.learned(items, known, width).columns(items)


def test_categories_brand_and_price_become_columns_of_even_weight():
    items = catalogue(
        [["film", "war"], ["film"], ["war"], None, ["rare"]],
        ["a", "a", None, "b", "b"],
        [1.0, 2.0, None, 3.0, 4.0],
    )
    columns = columns_of(items, np.ones(5, bool), 10)
    shared, brand, price = columns[:, :2], columns[:, 2:4], columns[:, 4:]
    np.testing.assert_allclose(np.square(shared).sum(axis=1), [1, 1, 1, 0, 0], rtol=1e-6)
    assert np.flatnonzero(shared[0]).tolist() == [0, 1]
    np.testing.assert_array_equal(brand, [[1, 0], [1, 0], [0, 0], [0, 1], [0, 1]])
    np.testing.assert_array_equal(price.sum(axis=1), [1, 1, 0, 1, 1])
    assert price.argmax(axis=1)[[0, 1, 3, 4]].tolist() == sorted(
        price.argmax(axis=1)[[0, 1, 3, 4]].tolist()
    )


def test_what_only_unknown_items_have_makes_no_column_and_they_share_those_of_others():
    known = np.array([True] * 20 + [False] * 2)
    items = catalogue(
        [["old"]] * 20 + [["old"], ["new"]],
        ["a"] * 20 + ["new"] * 2,
        [float(row) for row in range(20)] + [10.0, 1e9],
    )
    columns = columns_of(items, known, 4)
    assert columns.shape[1] == 1 + 1 + PRICE_BUCKETS
    np.testing.assert_array_equal(columns[20], columns[10] * [1, 0, *[1] * PRICE_BUCKETS])
    assert columns[21, :2].tolist() == [0, 0]
    assert columns[21, -1] == 1
    changed = columns_of(items.slice(0, 20), known[:20], 4)
    np.testing.assert_array_equal(columns[:20], changed)


def test_only_the_most_frequent_are_kept_and_a_catalogue_without_any_has_no_columns():
    items = catalogue([["a"], ["a"], ["a"], ["b"], ["b"]], [None] * 5, [None] * 5)
    assert columns_of(items, np.ones(5, bool), 1).shape == (5, 1)
    assert columns_of(items.slice(0, 1), np.ones(1, bool), 1).shape == (1, 0)
