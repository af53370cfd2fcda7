"""The environment decides which stores are meant; what is wrong in it is said, secrets never."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from feature_repo.profile import Profile, read_profile
from recommender.errors import ConfigError

WHOLE = {
    "OSTINATO_PROFILE": "production",
    "OSTINATO_REDIS": "redis:6379,db=0,password=hush-hush",
    "OSTINATO_REGISTRY": "postgresql+psycopg://ostinato:hush-hush@db:5432/feast",
    "OSTINATO_OFFLINE": "s3://features/shop/",
}


def test_embedded_is_the_default_and_needs_nothing(tmp_path):
    profile = read_profile({})
    assert profile == Profile("embedded") == read_profile({**WHOLE, "OSTINATO_PROFILE": ""})
    assert profile.embedded
    assert profile.offline_location(tmp_path, "shop") == f"{tmp_path}/offline/shop"
    assert profile.registry_of(tmp_path).url == f"sqlite:///{tmp_path}/registry.db"
    assert profile.variables() == {"OSTINATO_PROFILE": "embedded"}


def test_production_reads_where_everything_is():
    profile = read_profile(WHOLE)
    assert not profile.embedded
    assert profile.offline_location(Path("/unused"), "shop") == "s3://features/shop/shop"
    assert profile.redis == WHOLE["OSTINATO_REDIS"]
    registry = profile.registry_of(Path("/unused"))
    assert registry.url == WHOLE["OSTINATO_REGISTRY"]
    assert registry.shown == "the registry feast on db:5432"
    assert profile.variables() == {**WHOLE, "OSTINATO_OFFLINE": "s3://features/shop"}


def test_the_environment_is_read_when_asked(monkeypatch):
    assert read_profile().embedded
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    assert not read_profile().embedded


def test_secrets_are_in_no_repr():
    profile = read_profile(WHOLE)
    assert "hush" not in repr(profile)
    assert "hush" not in repr(profile.registry_of(Path("/unused")))


@pytest.mark.parametrize("variable", ["OSTINATO_REDIS", "OSTINATO_REGISTRY", "OSTINATO_OFFLINE"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_missing_is_named(variable, value):
    given = {**WHOLE, variable: value}
    with pytest.raises(ConfigError, match=f"{variable} is not set"):
        read_profile({name: each for name, each in given.items() if each is not None})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OSTINATO_REDIS", "hush"),
        ("OSTINATO_REDIS", "redis://user:hush@host:6379"),
        ("OSTINATO_REDIS", "password=hush,db=0"),
        ("OSTINATO_REDIS", 'host:6379,password=hu"sh'),
        ("OSTINATO_REGISTRY", "hush"),
        ("OSTINATO_REGISTRY", "postgresql://user:hush@host"),
        ("OSTINATO_REGISTRY", "postgresql://user:hush@[host/db"),
        ("OSTINATO_REGISTRY", 'postgresql://user:hu"sh@host/db'),
        ("OSTINATO_OFFLINE", "hush/relative"),
        ("OSTINATO_OFFLINE", "s3://"),
        ("OSTINATO_OFFLINE", "s3://key:hush@bucket/prefix"),
        ("OSTINATO_OFFLINE", "gs://hush/prefix"),
        ("OSTINATO_OFFLINE", '/tmp/"hush'),
        ("OSTINATO_PROFILE", "testing"),
    ],
)
def test_what_is_malformed_is_named_and_not_repeated(variable, value):
    with pytest.raises(ConfigError, match=variable) as told:
        read_profile({**WHOLE, variable: value})
    assert "hush" not in str(told.value)
    assert told.value.hint


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_to_by_the_driver_that_is_installed(scheme):
    url = f"{scheme}://u:p@db/feast"
    profile = read_profile({**WHOLE, "OSTINATO_REGISTRY": url})
    assert profile.registry == "postgresql+psycopg://u:p@db/feast"


def test_both_yaml_files_say_the_same_but_for_the_stores():
    trees = [
        yaml.safe_load(Profile(name).definition.read_text(encoding="utf-8"))
        for name in ("embedded", "production")
    ]
    for part in ("registry", "online_store", "materialization"):
        for tree in trees:
            del tree[part]
    assert trees[0] == trees[1]
    assert trees[0]["entity_key_serialization_version"] == 3


def test_no_yaml_file_holds_a_secret():
    for name in ("embedded", "production"):
        text = Profile(name).definition.read_text(encoding="utf-8")
        assert "password" not in text.lower()
