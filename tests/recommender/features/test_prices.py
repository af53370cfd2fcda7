"""An item's price is compared within the most specific category that says something."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import item_table

from recommender.features.prices import ENOUGH, category_prices

PRICE = st.one_of(
    st.none(), st.floats(-1, 100), st.just(float("nan")), st.just(float("inf")), st.just(0.0)
)
CATEGORIES = st.one_of(
    st.none(), st.lists(st.one_of(st.none(), st.sampled_from(["", "x", "y", "z"])), max_size=4)
)


def rows(items):
    return item_table(
        {"item_id": f"i{n:03}", "categories": categories, "price": price}
        for n, (categories, price) in enumerate(items)
    )


def by_hand(items):
    """What the rule says, in the plainest words."""
    usable = [
        (categories or [], price)
        for categories, price in items
        if price is not None and 0 < price < float("inf")
    ]
    level = {}
    for name in ("x", "y", "z"):
        inside = [price for categories, price in usable if name in categories]
        if len(inside) >= ENOUGH:
            level[name] = statistics.median(inside)
    found = []
    for categories, _ in items:
        told = [level[name] for name in categories or [] if name in level]
        found.append(told[-1] if told else None)
    return found


@given(st.lists(st.tuples(CATEGORIES, PRICE), max_size=30))
def test_levels_are_what_sorting_by_hand_gives(items):
    assert category_prices(rows(items)).to_pylist() == by_hand(items)


def test_a_niche_is_judged_by_what_it_belongs_to():
    shoes = [(["clothes", "shoes"], 10.0 + n) for n in range(ENOUGH)]
    niche = [(["clothes", "shoes", "spats"], 500.0)]
    assert category_prices(rows(shoes + niche)).to_pylist() == [12.5] * (ENOUGH + 1)


def test_a_catalogue_without_prices_or_categories_has_no_levels():
    assert category_prices(rows([(None, 3.0), (["x"], None)])).to_pylist() == [None, None]
    assert category_prices(rows([])).to_pylist() == []
