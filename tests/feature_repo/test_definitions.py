"""The definitions are complete, and the same for the `feast` program and for Python."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from feast import Entity, FeatureService, FeatureView
from tables_by_hand import tables

from feature_repo.entities import ITEM, USER
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE, offline_folder
from feature_repo.services import services
from feature_repo.store import open_store, publish
from feature_repo.views import views
from recommender.artifact import Model
from recommender.features.snapshots import KEYS, VIEWS

VIEWS_BY_NAME = views(Path("/offline"))
SERVICES_BY_NAME = services(VIEWS_BY_NAME)


@pytest.mark.parametrize(
    "defined",
    [USER, ITEM, *VIEWS_BY_NAME.values(), *SERVICES_BY_NAME.values()],
    ids=lambda each: each.name,
)
def test_every_definition_has_a_description_tags_and_an_owner(defined):
    assert defined.description
    assert defined.tags
    assert defined.owner


@pytest.mark.parametrize("view", VIEWS_BY_NAME.values(), ids=lambda view: view.name)
def test_every_feature_is_described(view):
    assert [field.name for field in view.features if not field.description] == []


def test_every_snapshot_has_its_view_and_the_other_way_round():
    assert set(VIEWS) == set(KEYS) == set(VIEWS_BY_NAME)


def test_the_service_that_models_name_exists():
    assert Model.__dataclass_fields__["feature_service"].default in SERVICES_BY_NAME


def test_people_are_marked_as_personal_data():
    for name, view in VIEWS_BY_NAME.items():
        personal = "yes" if KEYS[name] == "user_id" else "no"
        assert view.tags["personal_data"] == personal


def test_the_file_that_feast_reads_defines_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv(FEATURES_VARIABLE, str(tmp_path))
    monkeypatch.setenv(PROJECT_VARIABLE, "shop_rehearsal")
    import feature_repo.repo as repo

    repo = importlib.reload(repo)
    found = {
        each.name: each
        for each in vars(repo).values()
        if isinstance(each, Entity | FeatureView | FeatureService)
    }
    folder = offline_folder(tmp_path, "shop_rehearsal")
    wanted = views(folder)
    assert found == {"user": USER, "item": ITEM, **wanted, **services(wanted)}
    assert found["user_sequence"].batch_source.path == f"{folder}/user_sequence.parquet"


def test_a_service_can_be_asked_for_by_its_name(config):
    publish(config, tables([("u1", "a", "click", 1)]), 5, "live")
    store = open_store(config.paths, "by_hand")
    answer = store.get_online_features(
        features=store.get_feature_service("unified_v1"), entity_rows=[{"user_id": "u1"}]
    ).to_dict()
    assert answer["item_ids"] == [["a"]]
    answer = store.get_online_features(
        features=store.get_feature_service("unified_v1_items"), entity_rows=[{"item_id": "a"}]
    ).to_dict()
    assert answer["title"] == ["thing a"]
    assert len(answer["vector"][0]) == 384
