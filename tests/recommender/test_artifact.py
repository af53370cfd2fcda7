"""A model is a folder of plain files; a damaged one says so and is never half-loaded."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from recommender.artifact import FILES, Model
from recommender.baselines.popularity import Popularity
from recommender.config.actions import ActionsConfig
from recommender.errors import ArtifactError
from recommender.features.sequences import Catalogue, Histories

CATALOGUE = Catalogue(("a", "ü", "c"))
MODEL = Model(
    Popularity(CATALOGUE, np.array([1, 5, 2], np.float32)),
    ("A", "Ü", "C"),
    ActionsConfig(types=("view", "buy"), success=("buy",)),
    history=7,
)


@pytest.fixture
def folder(tmp_path):
    MODEL.save(tmp_path / "model")
    return tmp_path / "model"


def test_what_was_saved_comes_back(folder):
    loaded = Model.load(folder)
    nobody = Histories.of([([], [], [])], now=[0])
    assert loaded.scorer.scores(nobody).tolist() == [[1, 5, 2]]
    assert loaded.scorer.catalogue == CATALOGUE
    assert (loaded.titles, loaded.actions, loaded.history) == (MODEL.titles, MODEL.actions, 7)
    assert loaded.feature_service == "unified_v1"


def test_the_same_model_gives_the_same_bytes(folder, tmp_path):
    Model.load(folder).save(tmp_path / "again")
    for name in FILES:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_there_is_nothing_in_the_folder_but_the_named_files(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_said(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match="not a readable model"):
        Model.load(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0, 10, -1])
def test_a_truncated_file_is_said(folder, name, left):
    content = (folder / name).read_bytes()
    # The last byte of model.json is a line break; without the brace before it, it is cut.
    (folder / name).write_bytes(content[: left - 1 if left < 0 else left])
    with pytest.raises(ArtifactError):
        Model.load(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 99, "unknown model format 99"),
        ("kind", "os:system", "kind 'os:system'"),
        ("actions", {"types": []}, "don't fit model.json"),
        ("history", "many", "don't fit model.json"),
    ],
)
def test_a_description_that_is_not_ours_is_refused(folder, key, value, said):
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**described, key: value}))
    with pytest.raises(ArtifactError, match=said):
        Model.load(folder)


def test_a_description_that_is_no_mapping_is_refused(folder):
    (folder / "model.json").write_text("[]")
    with pytest.raises(ArtifactError, match="not a description"):
        Model.load(folder)


def test_weights_of_another_model_are_refused(folder):
    save_file({"counts": np.zeros(2, np.float32)}, folder / "weights.safetensors")
    with pytest.raises(ArtifactError, match="don't fit"):
        Model.load(folder)
    save_file({"other": np.zeros(3, np.float32)}, folder / "weights.safetensors")
    with pytest.raises(ArtifactError, match="don't fit"):
        Model.load(folder)


def test_an_item_table_of_something_else_is_refused(folder):
    for wrong in ('{"id": ["a"]}', '["a"]', '"a"', "{"):
        (folder / "items.json").write_text(wrong)
        with pytest.raises(ArtifactError, match="not a readable model"):
            Model.load(folder)


def test_a_model_of_format_1_with_its_items_in_parquet_loads(folder):
    before = Model.load(folder)
    items = json.loads((folder / "items.json").read_text())
    (folder / "items.json").unlink()
    pq.write_table(pa.table(items), folder / "items.parquet")
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"format": 2', '"format": 1'))
    after = Model.load(folder)
    assert (after.titles, after.scorer.catalogue) == (before.titles, before.scorer.catalogue)
