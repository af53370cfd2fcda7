"""Tuned text encoders that saw a forgotten person: marked with what reads them, used no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forget_people import person
from safetensors.numpy import save_file
from tables_by_hand import configuration

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.errors import ArtifactError, FeatureError
from recommender.features.encoder_folder import folder_hash
from recommender.features.sequences import Catalogue
from recommender.files import write_json
from recommender.forgetting.encoders import ADAPTER, marked, refuse_marked
from recommender.forgetting.models import mark
from recommender.forgetting.suppression import Suppressions
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.registry.content import LINEAGE
from recommender.registry.encoders import EncoderLineage, encoder_version
from recommender.split import Fold
from recommender.workspace import Workspace

ACTIONS = ActionsConfig(types=("view",), history=("view",), success=("view",))


def lineage(*data: str, base: str = "org/encoder@0") -> EncoderLineage:
    return EncoderLineage("shop", data, 9, base, {"rank": 8}, 7)


def encoder_of(folder: Path, came: EncoderLineage | None) -> str:
    """Write what stands for an encoder's files; return its revision."""
    folder.mkdir()
    save_file({"w": np.array([len(folder.name)], np.float32)}, folder / "model.safetensors")
    (folder / ADAPTER).mkdir()
    if came is not None:
        (folder / LINEAGE).write_bytes(came.to_bytes())
    return folder_hash(folder)


def reading(workspace: Path, folder: Path, revision: str, **more: Any) -> Config:
    text = {"encoder": str(folder), "revision": revision, **more}
    return configuration(workspace, features={"text": text})


def test_lineage_belongs_to_what_pins_an_encoder_and_comes_back(tmp_path: Path) -> None:
    came = lineage("d-1", "d-0")
    revision = encoder_of(tmp_path / "a", came)
    assert EncoderLineage.of_folder(tmp_path / "a") == came
    (tmp_path / "a" / LINEAGE).write_bytes(lineage("d-2").to_bytes())
    assert folder_hash(tmp_path / "a") != revision
    encoder_of(tmp_path / "none", None)
    assert EncoderLineage.of_folder(tmp_path / "none") is None
    (tmp_path / "a" / LINEAGE).write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="not a readable lineage"):
        EncoderLineage.of_folder(tmp_path / "a")
    registry = Registry.of(Workspace(tmp_path / "workspace"))
    version = registry.encoders.record(revision, came)
    assert registry.encoders.record(revision, came) == version == f"e-{revision[:12]}"
    assert registry.encoders.lineages() == {version: came}
    assert registry.versions() == ()


def test_what_was_tuned_on_a_person_is_marked_with_what_came_of_it(tmp_path: Path) -> None:
    paths = Workspace(tmp_path / "workspace")
    registry, made = Registry.of(paths), []
    for name in ("old", "new"):
        (paths.data / "versions" / name).mkdir(parents=True)

    def encoder(character: str, came: EncoderLineage) -> str:
        return registry.encoders.record(character * 64, came)

    def model(reads: str) -> str:
        scorer = Popularity(Catalogue(("a", "b")), np.array([1.0, len(made)], np.float32))
        folder = tmp_path / f"model-{len(made)}"
        Model(scorer, ("A", "B"), ACTIONS, 5).save(folder)
        told = Lineage("run-1", "new", "", {}, "", (Fold(1, 2, 3),), encoder=reads)
        made.append(registry.register(folder, told, Decision("run-1", Status.PASSED)))
        return made[-1]

    saw = encoder("a", lineage("old"))
    after = encoder("b", lineage("new", base=f"tuned@{'a' * 64}"))
    further = encoder("c", lineage("new", "old"))
    alone = encoder("d", lineage("new"))
    elsewhere = encoder("e", lineage("gone"))
    reads, plain, other = model(f"x@{'b' * 64}"), model(f"org/encoder@{'a' * 40}"), model("")
    told = mark(registry, paths.data, ["old"], person("ann"))
    assert set(told) == {saw, after, further, elsewhere, reads}
    for version in (saw, after, further):
        assert [each.certain for each in registry.encoders.marks(version)] == [True]
    assert [each.certain for each in registry.encoders.marks(elsewhere)] == [False]
    assert [each.certain for each in registry.retrain_marks(reads)] == [True]
    assert not registry.encoders.marks(alone)
    assert not registry.retrain_marks(plain)
    assert not registry.retrain_marks(other)
    assert mark(registry, paths.data, ["old"], person("ann")) == told


def test_a_marked_encoder_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    revision = encoder_of(tmp_path / "tuned", lineage("d-1"))
    config = reading(workspace, tmp_path / "tuned", revision)
    registry = Registry.of(config.paths)
    registry.encoders.record(revision, lineage("d-1"))
    refuse_marked(config)
    assert marked(config) == ()
    mark(registry, config.paths.data, ["d-1"], person("ann"))
    with pytest.raises(FeatureError, match="saw 1 people who were forgotten since") as told:
        refuse_marked(config)
    assert "org/encoder@0" in told.value.hint
    assert marked(config) == (str(tmp_path / "tuned"),)
    (tmp_path / "tuned").rename(tmp_path / "moved")
    with pytest.raises(FeatureError, match=encoder_version(revision)):
        refuse_marked(reading(workspace, tmp_path / "moved", revision))
    # Beside the main one, and for a rival, too.
    beside = {"slug": "two", "encoder": str(tmp_path / "moved"), "revision": revision}
    with pytest.raises(FeatureError, match="forgotten since"):
        refuse_marked(configuration(workspace, features={"text": {"also": [beside]}}))
    frozen = {"encoder": str(tmp_path / "moved"), "revision": revision}
    with pytest.raises(FeatureError, match="forgotten since"):
        refuse_marked(configuration(workspace, evaluation={"neural": {"frozen_text": frozen}}))
    refuse_marked(configuration(workspace))


def test_a_replaced_data_version_tells_of_the_forgotten_without_any_registry(
    tmp_path: Path,
) -> None:
    revision = encoder_of(tmp_path / "tuned", lineage("d-2", "d-1"))
    config = reading(tmp_path / "workspace", tmp_path / "tuned", revision)
    config.paths.data.mkdir(parents=True)
    write_json(config.paths.data / "replaced.json", {"d-0": "d-5"})
    refuse_marked(config)
    write_json(config.paths.data / "replaced.json", {"d-1": "d-5"})
    with pytest.raises(FeatureError, match="was tuned on d-1, in which people are"):
        refuse_marked(config)


def test_a_tuned_encoder_without_lineage_is_refused_once_somebody_is_forgotten(
    tmp_path: Path,
) -> None:
    revision = encoder_of(tmp_path / "tuned", None)
    config = reading(tmp_path / "workspace", tmp_path / "tuned", revision)
    refuse_marked(config)
    Suppressions(config.paths).add("ann")
    with pytest.raises(FeatureError, match="says nothing of the data it was tuned on"):
        refuse_marked(config)
    (tmp_path / "tuned" / ADAPTER).rmdir()
    refuse_marked(config)  # one that was never tuned here
