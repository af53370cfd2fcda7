"""Text through Feast: several encoders, behaviour in words, similar items by stored vectors."""

from __future__ import annotations

import numpy as np
import pytest
from tables_by_hand import configuration, tables
from tiny_encoder import CHINESE, tiny_encoder

from feature_repo.choices import BEHAVIOUR_VARIABLE, ENCODERS_VARIABLE, Choices
from feature_repo.environment import environment
from feature_repo.offline import write_snapshot
from feature_repo.profile import OFFLINE_VARIABLE, PROFILE_VARIABLE, REDIS_VARIABLE
from feature_repo.profile import REGISTRY_VARIABLE as REGISTRY
from feature_repo.sdk import open_store, speaking_plainly
from feature_repo.similar import open_similar, similar_items
from feature_repo.store import publish
from recommender.config import Config
from recommender.errors import ConfigError, FeatureError

DAY = 86_400_000
ITEMS = [
    {"item_id": "a", "title": "Red scarf of wool"},
    {"item_id": "b", "title": "Red scarf of cotton"},
    {"item_id": "c", "title": "红色的羊毛围巾"},
    {"item_id": "d", "title": "蓝色的羊毛围巾"},
    {"item_id": "e", "title": "Red scarf of wool"},
    {"item_id": "mute"},
]
EVENTS = [
    ("u1", "a", "click", 10 * DAY),
    ("u1", "c", "purchase", 11 * DAY),
    ("u2", "b", "click", 12 * DAY),
    ("u3", "b", "click", 20 * DAY),
]
AS_OF = 13 * DAY


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("encoders")
    pins = {"main": tiny_encoder(root / "main"), "zh": tiny_encoder(root / "zh", signs=CHINESE)}
    main, further = (
        {"encoder": str(root / name), "revision": pin, "threads": 1} for name, pin in pins.items()
    )
    return {**main, "behaviour": True, "also": [{**further, "slug": "zh"}]}


@pytest.fixture(scope="module")
def config(settings, tmp_path_factory) -> Config:
    made = configuration(tmp_path_factory.mktemp("workspace"), features={"text": settings})
    publish(made, tables(EVENTS, ITEMS), AS_OF, "live")
    return made


def read(config: Config, view: str, key: str, ids: list[str], *names: str) -> dict[str, list]:
    store = open_store(config.paths, "by_hand")
    with speaking_plainly(config.paths):
        return store.get_online_features(
            features=[f"{view}:{name}" for name in names],
            entity_rows=[{key: each} for each in ids],
        ).to_dict()


def test_every_encoder_has_its_columns_in_feast(config, settings):
    names = ("vector", "encoder", "vector_zh", "encoder_zh")
    told = read(config, "item_text", "item_id", ["a", "c", "mute"], *names)
    pins = settings["revision"], settings["also"][0]["revision"]
    assert told["encoder"] == [f"main@{pins[0]}"] * 3
    assert told["encoder_zh"] == [f"zh@{pins[1]}"] * 3
    for column in ("vector", "vector_zh"):
        lengths = np.linalg.norm(np.array(told[column]), axis=1)
        np.testing.assert_allclose(lengths, [1, 1, 0], atol=1e-5)
    assert not np.allclose(told["vector"][0], told["vector_zh"][0], atol=0.01)


def test_what_a_user_did_is_told_in_feast_strictly_before_the_moment(config):
    names = ("sentence", "as_of", "vector", "encoder", "content_hash")
    told = read(config, "user_behaviour", "user_id", ["u1", "u2", "u3"], *names)
    assert told["sentence"] == [
        "This week: purchase 红色的羊毛围巾; click Red scarf of wool",
        "This week: click Red scarf of cotton",
        None,
    ]
    assert told["as_of"][:2] == [AS_OF, AS_OF]
    assert len(told["vector"][0]) == 16
    assert len(told["content_hash"][0]) == 64


def test_similar_items_come_from_the_vectors_that_feast_stores(config):
    found = similar_items(config.paths, "by_hand", "a", 10)
    told = read(config, "item_text", "item_id", list("abcde"), "vector")
    vectors = dict(zip(told["item_id"], np.array(told["vector"], np.float32), strict=True))
    assert found[0].item_id == "e"
    assert found[0].title == "Red scarf of wool"
    assert "mute" not in {each.item_id for each in found}
    for each in found:
        assert each.cosine == pytest.approx(float(vectors["a"] @ vectors[each.item_id]), abs=1e-5)
    assert [each.item_id for each in found] == [
        each.item_id for each in open_similar(config.paths, "by_hand").to_item("a", 10)
    ]


def test_another_encoder_finds_other_items(config):
    # To the main encoder both Chinese titles are nothing but unknown signs.
    assert similar_items(config.paths, "by_hand", "c", 1)[0].cosine == pytest.approx(1)
    (nearest,) = similar_items(config.paths, "by_hand", "c", 1, encoder="zh")
    assert nearest.cosine < 1 - 1e-4


def test_what_cannot_be_compared_is_said(config, tmp_path):
    with pytest.raises(FeatureError, match="no item 'z'") as told:
        similar_items(config.paths, "by_hand", "z")
    assert "'a'" in told.value.hint
    with pytest.raises(FeatureError, match="'mute' has no text"):
        similar_items(config.paths, "by_hand", "mute")
    with pytest.raises(FeatureError, match="no vectors of an encoder 'fr'") as told:
        similar_items(config.paths, "by_hand", "a", encoder="fr")
    assert "zh" in told.value.hint
    with pytest.raises(FeatureError, match="no published item features") as told:
        similar_items(config.paths, "another", "a")
    assert "publish" in told.value.hint


def test_similar_items_are_found_where_the_snapshots_lie_on_s3(config, s3_bucket, monkeypatch):
    import pyarrow.parquet as pq

    snapshot = pq.read_table(config.paths.features / "offline" / "by_hand" / "item_text.parquet")
    write_snapshot(f"s3://{s3_bucket}/features/by_hand", "item_text", snapshot)
    here = similar_items(config.paths, "by_hand", "a", 3)
    monkeypatch.setenv(PROFILE_VARIABLE, "production")
    monkeypatch.setenv(REDIS_VARIABLE, "localhost:6379")
    monkeypatch.setenv(REGISTRY, "postgresql+psycopg://u@localhost/base")
    monkeypatch.setenv(OFFLINE_VARIABLE, f"s3://{s3_bucket}/features")
    assert similar_items(config.paths, "by_hand", "a", 3) == here
    with pytest.raises(FeatureError, match="no published item features"):
        similar_items(config.paths, "another", "a")


def test_what_is_switched_off_is_gone_from_feast(settings, tmp_path):
    made = tables(EVENTS, ITEMS)
    publish(configuration(tmp_path, features={"text": settings}), made, AS_OF, "live")
    plain = {key: value for key, value in settings.items() if key not in ("also", "behaviour")}
    config = configuration(tmp_path, features={"text": plain})
    publish(config, made, AS_OF + 1, "live")
    store = open_store(config.paths, "by_hand")
    with speaking_plainly(config.paths):
        views = {view.name: view for view in store.list_feature_views()}
    assert "user_behaviour" not in views
    assert "vector_zh" not in {field.name for field in views["item_text"].features}
    assert read(config, "item_text", "item_id", ["a"], "title")["title"] == ["Red scarf of wool"]


def test_the_environment_tells_the_feast_program_what_there_is(config):
    given = environment(config, "live")
    assert given[ENCODERS_VARIABLE] == "zh"
    assert given[BEHAVIOUR_VARIABLE] == "1"
    assert Choices.read(given) == Choices.of(config)
    assert Choices.read({}) == Choices()
    with pytest.raises(ConfigError, match="different slugs"):
        Choices.read({ENCODERS_VARIABLE: "zh,zh"})
    with pytest.raises(ConfigError, match="different slugs"):
        Choices.read({ENCODERS_VARIABLE: "No-Slug"})
