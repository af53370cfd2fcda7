"""The generated shop: repeatable, canonical, and true to what it says of itself."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pytest

from recommender.config.source import SyntheticSource
from recommender.sources.synthetic import generate, generate_with_truth
from recommender.sources.synthetic.shop import POSITIONS, _slate
from recommender.tables import EVENTS, ITEMS, USERS

SMALL = SyntheticSource(users=400, items=60, days=40, sessions_per_user=6)


@pytest.fixture(scope="module")
def shop():
    return generate_with_truth(SMALL, seed=3)


def test_same_seed_gives_the_same_tables_and_another_seed_does_not(shop):
    assert generate(SMALL, 3).events.equals(shop[0].events)
    assert not generate(SMALL, 4).events.equals(shop[0].events)


def test_tables_have_the_canonical_schemas_and_are_sorted_by_time_and_id(shop):
    tables = shop[0]
    assert tables.events.schema.equals(EVENTS)
    assert tables.items.schema.equals(ITEMS)
    assert tables.users.schema.equals(USERS)
    order = tables.events.sort_by([("time", "ascending"), ("event_id", "ascending")])
    assert order.equals(tables.events)


def test_every_display_is_one_row_with_a_propensity_and_nothing_else_has_one(shop):
    events = shop[0].events.to_pandas()
    home = events["surface"] == "home"
    assert events.loc[home, "propensity"].between(0, 1, inclusive="right").all()
    assert events.loc[~home, "propensity"].isna().all()
    assert events.loc[home, "event"].isin(["impression", "click"]).all()


def test_logged_propensities_are_the_frequencies_with_which_the_policy_shows_items():
    random = np.random.default_rng(0)
    utility = np.random.default_rng(1).normal(0, 1, 12)
    shown, propensity = _slate(np.tile(utility, (40_000, 1)), random)
    assert all(len(set(row)) == POSITIONS for row in shown[:100])
    for position in range(POSITIONS):
        for item in range(12):
            at = shown[:, position] == item
            stated = propensity[at, position][0] if at.any() else 0.0
            assert at.mean() == pytest.approx(stated, abs=4 * np.sqrt(stated / 40_000) + 1e-3)


def test_nobody_sees_an_item_before_it_was_created(shop):
    tables = shop[0]
    created = dict(
        zip(tables.items["item_id"].to_pylist(), tables.items["created"].to_pylist(), strict=True)
    )
    for item, time in zip(
        tables.events["item_id"].to_pylist(), tables.events["time"].to_pylist(), strict=True
    ):
        assert time >= created[item]


def test_true_utility_explains_who_clicks_what(shop):
    tables, truth = shop
    items = {item: row for row, item in enumerate(tables.items["item_id"].to_pylist())}
    searches = tables.events.filter(pc.equal(tables.events["surface"], "search")).slice(0, 3000)
    users = np.array([int(user[1:]) - 1 for user in searches["user_id"].to_pylist()])
    times = searches["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    utility = truth.utility(users, times)
    clicked = np.array([items[item] for item in searches["item_id"].to_pylist()])
    rank = (utility > utility[np.arange(len(users)), clicked][:, None]).mean(axis=1)
    assert rank.mean() < 0.3, "clicked items should be among the best by the truth (chance: 0.5)"


def test_titles_speak_of_the_category_and_are_unique(shop):
    titles = shop[0].items["title"].to_pylist()
    assert len(set(titles)) == len(titles)
