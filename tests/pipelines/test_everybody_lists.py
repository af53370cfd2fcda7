"""What lists for everybody know of people is what the endpoint knows of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tables_by_hand import configuration, follow_table, tables

from pipelines.everybody import known_of_people
from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.batch import recommend_all
from recommender.cold_users import ColdUsers
from recommender.config import Config
from recommender.features.build import event_log
from recommender.features.sequences import Catalogue
from recommender.followed_took import FOLLOWED_TOOK

ITEMS = ("a", "b", "c")
EVENTS = [
    ("friend", "c", "purchase", 10),
    ("friend", "b", "click", 20),
    ("looked", "a", "impression", 30),
]
NOBODY = np.empty((0, 3), np.float32)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, source={"kind": "synthetic", "follows": 1})


def model(config: Config, cold: ColdUsers | None) -> Model:
    scorer = Popularity(Catalogue(ITEMS), np.array([3, 2, 1], np.float32))
    return Model(scorer, ITEMS, config.actions, 5, cold=cold)


def test_people_are_known_only_where_the_model_reads_them(config: Config) -> None:
    made = tables(EVENTS, ITEMS, {"friend": {}, "looked": {"country": "DE"}})
    made = replace(made, follows=follow_table([("looked", "friend", None)]))
    everybody = np.array([3, 2, 1], np.float32)
    plain = ColdUsers("popular", everybody, (), NOBODY)
    german = ColdUsers("popular", everybody, ("country=DE",), np.ones((1, 3), np.float32))
    social = ColdUsers("popular", everybody, (), NOBODY, Catalogue(ITEMS))
    for cold in (None, plain):
        assert known_of_people(model(config, cold), made, config, 40) == {}
    known = {"friend": {}, "looked": {"country": "DE"}}
    assert known_of_people(model(config, german), made, config, 40) == known
    known["looked"][FOLLOWED_TOOK] = '{"c": 1}'
    assert known_of_people(model(config, social), made, config, 40) == known


def test_whoever_has_only_looked_is_listed_what_those_they_follow_took(config: Config) -> None:
    made = replace(tables(EVENTS, ITEMS), follows=follow_table([("looked", "friend", None)]))
    everybody = np.array([3, 2, 2.5], np.float32)
    social = model(config, ColdUsers("popular", everybody, (), NOBODY, Catalogue(ITEMS)))
    log = event_log(made, config)
    people = known_of_people(social, made, config, 40)
    told = replace(log, people=tuple(people.get(user) for user in log.users))
    lists = {}
    for each in (log, told):
        (batch,) = recommend_all(social, each, 40, 1, history_limit=5)
        rows = {row["user_id"]: row["item_ids"] for row in batch.to_pylist()}
        lists[each is told] = rows["looked"]
    assert lists == {False: ["a"], True: ["c"]}
