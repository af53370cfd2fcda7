"""The definitions are complete, and the same for the `feast` program and for Python."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from feast import Entity, FeatureService, FeatureView, OnDemandFeatureView, Project
from tables_by_hand import tables

from feature_repo.choices import Choices
from feature_repo.definitions import definitions
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE, offline_folder
from feature_repo.online import HISTORY_FIELDS
from feature_repo.profile import OFFLINE_VARIABLE, PROFILE_VARIABLE, REDIS_VARIABLE
from feature_repo.profile import REGISTRY_VARIABLE as REGISTRY
from feature_repo.store import open_store, publish
from feature_repo.views import views
from recommender.artifact import Model
from recommender.features.snapshots import KEYS, VIEWS
from serving.history import StoreHistories

EVERYTHING = Choices(encoders=("other",), behaviour=True, windows_days=(2, 5), social=True)
DEFINED = definitions("shop", "/offline/shop", EVERYTHING)
STORED = {name: each for name, each in DEFINED.items() if isinstance(each, FeatureView)}
SERVICES = {name: each for name, each in DEFINED.items() if isinstance(each, FeatureService)}


@pytest.mark.parametrize("defined", DEFINED.values(), ids=lambda each: each.name)
def test_every_definition_has_a_description_tags_and_an_owner(defined):
    assert defined.description
    assert defined.tags
    assert defined.owner


@pytest.mark.parametrize("view", STORED.values(), ids=lambda view: view.name)
def test_every_stored_feature_is_described(view):
    assert [field.name for field in view.features if not field.description] == []


def test_every_snapshot_has_its_view_and_the_other_way_round():
    snapshots = {name for name, view in STORED.items() if view.stream_source is None}
    assert set(VIEWS) == set(KEYS) == snapshots


def test_the_service_that_models_name_exists_and_holds_what_they_read():
    named = SERVICES[Model.__dataclass_fields__["feature_service"].default]
    read = [
        (projection.name, [field.name for field in projection.features])
        for projection in named.feature_view_projections
    ]
    assert read == [("user_sequence", list(HISTORY_FIELDS))]
    assert named.name == StoreHistories.feature_service


def test_people_are_marked_as_personal_data():
    for name, view in STORED.items():
        key = KEYS.get(name, "user_id")
        assert view.tags["personal_data"] == ("yes" if key == "user_id" else "no")


def test_windows_and_encoders_decide_on_columns():
    names = {feature.name for feature in STORED["user_activity"].features}
    assert names == {
        "events_total",
        "events_2d",
        "events_5d",
        "distinct_items_5d",
        "active_days_5d",
        "successes_5d",
        "last_event_ms",
        "days_since_last",
        "as_of",
    }
    assert "vector_other" in {feature.name for feature in STORED["item_text"].features}


def loaded(monkeypatch, **variables: str) -> dict[str, object]:
    """What Feast finds in `repo.py` in an environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    import feature_repo.repo as repo

    for name in [name for name in vars(repo) if not name.startswith("_")]:
        delattr(repo, name)
    kinds = Entity | FeatureView | OnDemandFeatureView | FeatureService | Project
    repo = importlib.reload(repo)
    return plain({name: each for name, each in vars(repo).items() if isinstance(each, kinds)})


def plain(defined):
    """The definitions, with projects as what was said of them: Feast adds when each was made."""
    return {
        name: (each.name, each.description, each.tags) if isinstance(each, Project) else each
        for name, each in defined.items()
    }


def test_the_file_that_feast_reads_defines_the_same(tmp_path, monkeypatch):
    found = loaded(
        monkeypatch,
        **{FEATURES_VARIABLE: str(tmp_path), PROJECT_VARIABLE: "shop_rehearsal"},
        **EVERYTHING.variables(),
    )
    folder = offline_folder(tmp_path, "shop_rehearsal")
    assert found == plain(definitions("shop_rehearsal", str(folder), EVERYTHING))
    assert found["user_sequence"].batch_source.path == f"{folder}/user_sequence.parquet"


def test_both_profiles_define_the_same_but_for_where_the_snapshots_lie(tmp_path, monkeypatch):
    names = {FEATURES_VARIABLE: str(tmp_path), PROJECT_VARIABLE: "shop"}
    embedded = loaded(monkeypatch, **names)
    production = loaded(
        monkeypatch,
        **names,
        **{
            PROFILE_VARIABLE: "production",
            REDIS_VARIABLE: "redis:6379",
            REGISTRY: "postgresql://reader:secret@db/registry",
            OFFLINE_VARIABLE: "s3://features/shop",
        },
    )
    assert embedded.keys() == production.keys()
    for name, view in embedded.items():
        other = production[name]
        if isinstance(view, FeatureView):
            assert view.schema == other.schema
            below = view.batch_source.path.removeprefix(f"{tmp_path}/offline/shop/")
            assert below.startswith(name)
            assert other.batch_source.path == f"s3://features/shop/shop/{below}"
        elif isinstance(view, OnDemandFeatureView):
            assert (view.features, view.udf_string) == (other.features, other.udf_string)
        elif isinstance(view, FeatureService):
            assert read_by(view) == read_by(other)
        else:
            assert view == other


def read_by(service):
    return [(each.name, each.features) for each in service.feature_view_projections]


def test_views_may_be_asked_for_with_a_path(tmp_path):
    assert views(tmp_path)["item_text"] == views(str(tmp_path))["item_text"]


def test_a_service_can_be_asked_for_by_its_name(config):
    # 2001-09-09T01:46:40Z, so that events lie a few days back.
    now = 1_000_000_000_000
    day = 86_400_000
    events = [("u1", "a", "click", now - 3 * day), ("u1", "a", "purchase", now - day - 1)]
    items = [
        {"item_id": "a", "title": "thing a", "categories": ["shoes"], "price": 30.0},
        *({"item_id": f"b{n}", "categories": ["shoes"], "price": 10.0} for n in range(4)),
    ]
    publish(config, tables(events, items), now, "live")
    store = open_store(config.paths, "by_hand")

    def asked(service, **row):
        found = store.get_online_features(
            features=store.get_feature_service(service), entity_rows=[row]
        )
        return {name: values[0] for name, values in found.to_dict().items()}

    answer = asked("unified_v1", user_id="u1")
    assert answer["item_ids"] == ["a", "a"]
    assert "event_ids" not in answer
    answer = asked("unified_v1_items", item_id="a")
    assert answer["title"] == "thing a"
    assert len(answer["vector"]) == 384
    answer = asked("unified_v1_context", user_id="u1", item_id="a", now_ms=now + day)
    assert (answer["events_total"], answer["events_1d"], answer["events_7d"]) == (2, 0, 2)
    assert answer["days_since_last_event"] == (2 * day + 1) / day
    assert answer["relative_price"] == 3.0
    # One purchase of a in six days: something is expected, and more than nothing is usual.
    assert answer["forecast"] > 0
    assert answer["demand_lift"] == pytest.approx(answer["forecast"] / answer["level"] - 1)
    stranger = asked("unified_v1_context", user_id="nobody", item_id="none", now_ms=now)
    assert stranger["days_since_last_event"] is None
    assert stranger["relative_price"] is None
    assert stranger["demand_lift"] is None


def test_feast_imports_one_file_of_the_repository_and_no_other():
    from feast.repo_operations import get_repo_files

    folder = Path(__file__).parents[2] / "feature_repo"
    assert get_repo_files(folder) == [folder / "repo.py"]
