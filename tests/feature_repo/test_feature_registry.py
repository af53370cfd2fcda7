"""A registry is looked at before Feast reads it, and only `apply` writes it (embedded profile)."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from sqlalchemy.exc import OperationalError

from feature_repo.choices import Choices
from feature_repo.locations import registry_db
from feature_repo.sdk import apply, open_store
from recommender.errors import FeatureError
from recommender.workspace import Workspace


@pytest.fixture(scope="module")
def applied(make_config):
    """A workspace whose registry was applied."""
    paths = make_config().paths
    apply(open_store(paths, "shop"), paths)
    return paths


@pytest.fixture
def paths(applied, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(applied.features, tmp_path / "features")
    return Workspace(tmp_path)


def run(paths, statement: str, *values) -> None:
    with closing(sqlite3.connect(registry_db(paths))) as registry, registry:
        registry.execute(statement, values)


def retag(paths, name: str, value: str | None) -> None:
    """Make the project say something else of whoever applied it."""
    from feast.protos.feast.core.Project_pb2 import Project

    with closing(sqlite3.connect(registry_db(paths))) as registry, registry:
        (proto,) = registry.execute("SELECT project_proto FROM projects").fetchone()
        project = Project.FromString(proto)
        if value is None:
            del project.spec.tags[name]
        else:
            project.spec.tags[name] = value
        registry.execute("UPDATE projects SET project_proto = ?", (project.SerializeToString(),))


def read(paths):
    return open_store(paths, "shop", read_only=True)


def test_a_reader_finds_every_definition(paths):
    assert {each.name for each in read(paths).list_feature_services()} >= {"unified_v1"}


def test_whoever_only_reads_cannot_write(paths):
    store = read(paths)
    service = store.get_feature_service("unified_v1")
    before = registry_db(paths).read_bytes()
    service.description = "planted"
    with pytest.raises(OperationalError, match="readonly"):
        store.registry.apply_feature_service(service, "shop")
    with pytest.raises(FeatureError, match="readonly"):
        apply(store, paths, Choices(behaviour=True))
    assert registry_db(paths).read_bytes() == before


def test_a_reader_makes_no_registry_where_there_is_none(tmp_path):
    with pytest.raises(FeatureError, match=r"there is no registry at .*registry\.db") as told:
        read(Workspace(tmp_path))
    assert "apply" in told.value.hint
    assert not registry_db(Workspace(tmp_path)).exists()


def test_only_its_owner_can_read_or_write_the_file(applied):
    assert stat.S_IMODE(registry_db(applied).stat().st_mode) == 0o600


def test_a_second_apply_changes_no_definition(paths):
    def definitions():
        with closing(sqlite3.connect(registry_db(paths))) as registry:
            return {
                table: sorted(row[0] for row in registry.execute(f"SELECT * FROM {table}"))
                for table in ("feature_views", "on_demand_feature_views", "feature_services")
            }

    before = definitions()
    apply(open_store(paths, "shop"), paths)
    assert definitions() == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM feature_views", "has no views of the project 'shop'"),
        ("DELETE FROM projects", "has no project 'shop'"),
        ("DROP TABLE feature_services", "holds no definitions"),
        ("UPDATE feature_views SET feature_view_proto = x'ffffff'", "is damaged: the view"),
        ("UPDATE projects SET project_proto = x'ffffff'", "is damaged: the project shop"),
    ],
)
def test_a_registry_that_is_not_whole_is_said(paths, statement, said):
    run(paths, statement)
    with pytest.raises(FeatureError, match=said) as told:
        read(paths)
    assert str(registry_db(paths)) in told.value.message
    assert told.value.hint


def test_an_empty_file_is_not_taken_for_a_registry_without_views(paths):
    registry_db(paths).write_bytes(b"")
    with pytest.raises(FeatureError, match="holds no definitions"):
        read(paths)


def test_a_file_that_is_no_database_is_said(paths):
    registry_db(paths).write_bytes(b"not a database" * 100)
    for reading in (True, False):
        with pytest.raises(FeatureError, match="not a database"):
            open_store(paths, "shop", read_only=reading)


@pytest.mark.parametrize(
    ("tag", "value", "said", "hint"),
    [
        ("feast", "9.1.0", "applied by Feast 9.1.0, and this is Feast", "isn't overwritten"),
        ("feast", "0.66.3", "applied by Feast 0.66.3", "apply again with this one"),
        ("feast", None, "doesn't say which Feast", "apply"),
        ("entity_key_serialization_version", "2", "for entity keys of version 2", "materialize"),
        ("entity_key_serialization_version", None, "for entity keys of version None", "apply"),
    ],
)
def test_a_registry_of_another_version_is_said(paths, tag, value, said, hint):
    retag(paths, tag, value)
    with pytest.raises(FeatureError, match=said) as told:
        read(paths)
    assert hint in told.value.hint


def test_a_patch_of_feast_is_no_other_version(paths):
    import feast

    major, minor, *_ = feast.__version__.split(".")
    retag(paths, "feast", f"{major}.{minor}.999")
    assert read(paths).list_feature_services()


def test_a_newer_registry_is_not_applied_over_and_an_older_one_is_brought_up_to_date(paths):
    retag(paths, "feast", "9.1.0")
    with pytest.raises(FeatureError, match=r"applied by Feast 9\.1\.0"):
        open_store(paths, "shop")
    retag(paths, "feast", "0.1.0")
    apply(open_store(paths, "shop"), paths)
    assert read(paths).list_feature_services()
