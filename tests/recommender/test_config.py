"""The configuration says what is wrong with it by name, and travels unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from recommender.config import Config, load, parse
from recommender.config.actions import ActionsConfig
from recommender.config.rollout import RolloutConfig
from recommender.config.split import SplitConfig
from recommender.config.text import BUNDLED_ENCODER, TextConfig
from recommender.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
PLAIN = {"name": "shop", "source": {"kind": "synthetic"}, "actions": {"types": ["buy"]}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid_and_travels_unchanged(path):
    config = load(path)
    assert Config.from_json(config.to_json()) == config


def test_every_wrong_key_and_value_is_named_with_its_path():
    tree = {**PLAIN, "trainign": {}, "model": {"width": 7, "heads": 2}, "source": {"kind": "sql"}}
    with pytest.raises(ConfigError) as told:
        parse(tree, "shop.yaml")
    lines = str(told.value).splitlines()
    assert lines[0] == "shop.yaml is wrong:"
    assert "  trainign: unknown key" in lines
    assert any(line.startswith("  model.width: ") and "(got 7)" in line for line in lines)
    assert any(line.startswith("  source") for line in lines)


def test_a_missing_section_is_named():
    with pytest.raises(ConfigError, match=r"(?m)^  actions: missing$"):
        parse({"name": "shop", "source": {"kind": "synthetic"}}, "x")


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_not_a_mapping_is_refused(value):
    with pytest.raises(ConfigError, match="not a mapping"):
        parse(value, "x")


def test_overrides_win_and_make_the_sections_they_need(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text(json.dumps(PLAIN))
    config = load(path, {"training.epochs": 2, "features.text.batch_size": 8, "name": "other"})
    assert (config.training.epochs, config.features.text.batch_size) == (2, 8)
    assert config.name == "other"


@pytest.mark.parametrize(
    ("content", "overrides", "said"),
    [
        ("name: [", {}, "not valid YAML"),
        ("", {}, "not a mapping"),
        ("", {"name": "x"}, "the file is not a mapping"),
        ("name: shop", {"name.first": "x"}, "name.first can't be set, name is not a mapping"),
        ("- a\n- b", {"name": "x"}, "not a mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_with_its_name(
    tmp_path, content, overrides, said
):
    path = tmp_path / "shop.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=said) as told:
        load(path, overrides)
    assert str(path) in str(told.value)


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["numbers", "vectors"])
def test_what_the_model_is_to_read_of_items_must_be_mapped(kind):
    path = Path(__file__).parents[2] / "configs" / "movielens-100k.yaml"
    wanted = {f"model.{kind}": ["year"]}
    told = rf"model\.{kind} names \['year'\], not in source\.items\.columns\.{kind}"
    with pytest.raises(ConfigError, match=told):
        load(path, wanted)
    mapped = load(path, wanted | {f"source.items.columns.{kind}": {"year": "a_column"}})
    assert getattr(mapped.model, kind) == ("year",)


def test_a_file_that_is_not_utf_8_is_said(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(path)


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop_1", "-shop", "shop-", "a" * 43, ""])
def test_a_name_that_could_not_name_a_service_is_refused(name):
    with pytest.raises(ConfigError, match="name: "):
        parse({**PLAIN, "name": name}, "x")


def test_the_workspace_is_absolute_and_named_after_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(PLAIN, "x").paths.root == tmp_path / ".ostinato" / "shop"
    elsewhere = parse({**PLAIN, "workspace": "there"}, "x")
    assert elsewhere.paths.features == tmp_path / "there" / "features"


def test_the_fingerprint_changes_with_any_setting_and_with_nothing_else():
    config = parse(PLAIN, "x")
    assert parse(dict(reversed(PLAIN.items())), "x").fingerprint() == config.fingerprint()
    assert parse({**PLAIN, "seed": 8}, "x").fingerprint() != config.fingerprint()


def test_the_tree_is_frozen():
    with pytest.raises(ValidationError):
        parse(PLAIN, "x").model.width = 9


def test_actions_default_to_all_types():
    actions = ActionsConfig(types=("view", "buy"))
    assert actions.histories == actions.successes == ("view", "buy")
    assert (actions.code("view"), actions.code("buy")) == (1, 2)


def test_negative_types_are_no_success_and_read_only_where_history_names_them():
    actions = ActionsConfig(types=("dislike", "view", "buy"), negative=("dislike",))
    assert actions.histories == actions.successes == ("view", "buy")
    read = ActionsConfig(
        types=("dislike", "view", "buy"), history=("dislike", "buy"), negative=("dislike",)
    )
    assert (read.histories, read.successes) == (("dislike", "buy"), ("buy",))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"types": ["a", "a"]}, "names one twice"),
        ({"types": ["a"], "history": ["b"]}, r"history names \['b'\]"),
        ({"types": ["a", "b"], "history": ["a"], "success": ["b"]}, "success must be among"),
        ({"types": []}, "at least 1"),
        ({"types": ["a", "b"], "negative": ["c"]}, r"negative names \['c'\]"),
        ({"types": ["a", "b"], "negative": ["b"]}, "must stand before the others"),
        ({"types": ["a", "b"], "success": ["a"], "negative": ["a"]}, "both a success and negative"),
        ({"types": ["a"], "negative": ["a"]}, "no type is left"),
    ],
)
def test_actions_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        ActionsConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"test_start": "2020-01-01T00:00:00Z"}, "go together"),
        (
            {"validation_start": "2020-01-01T00:00:00", "test_start": "2020-02-01T00:00:00"},
            "time zone",
        ),
        (
            {"validation_start": "2020-03-01T00:00:00Z", "test_start": "2020-02-01T00:00:00Z"},
            "before",
        ),
    ],
)
def test_a_split_at_moments_that_make_no_sense_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        SplitConfig.model_validate(settings)


@pytest.mark.parametrize("steps", [[], [5, 5, 100], [5, 50], [0, 100], [50, 25, 100]])
def test_a_rollout_that_does_not_rise_to_everybody_is_refused(steps):
    with pytest.raises(ValidationError, match="must rise"):
        RolloutConfig.model_validate({"steps": steps})


def test_a_hugging_face_encoder_is_pinned_to_a_commit():
    assert TextConfig(encoder="owner/name", revision=COMMIT).revision == COMMIT


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder": "owner/name"}, "must pin owner/name to a commit"),
        ({"encoder": "owner/name", "revision": "main"}, "should match pattern"),
        ({"encoder": "owner/name", "revision": COMMIT + 24 * "0"}, "to a commit"),
        (
            {"encoder": "../somewhere", "revision": COMMIT},
            r"must pin \.\./somewhere to its content",
        ),
        ({"encoder": "./here"}, "encoder_folder ./here"),
        ({"encoder": "mine", "revision": COMMIT}, "should match pattern"),
        ({"encoder": "https://host/name", "revision": COMMIT}, "should match pattern"),
        ({"encoder": BUNDLED_ENCODER, "revision": COMMIT}, "belongs to other encoders"),
    ],
)
def test_an_encoder_that_is_not_pinned_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        TextConfig.model_validate(settings)


def test_a_folder_is_an_encoder_too_pinned_to_its_content():
    for folder in ("./models/mine", "../mine", "/models/mine"):
        assert TextConfig(encoder=folder, revision=64 * "a").is_folder
    assert not TextConfig().is_folder


def test_two_encoders_cannot_have_the_same_columns():
    also = [{"slug": "new"}, {"slug": "newer"}, {"slug": "new", "max_tokens": 16}]
    assert len(TextConfig.model_validate({"also": also[:2]}).also) == 2
    with pytest.raises(ValidationError, match="slug 'new' more than once"):
        TextConfig.model_validate({"also": also})
    with pytest.raises(ValidationError, match="should match pattern"):
        TextConfig.model_validate({"also": [{"slug": "No-Column"}]})
