"""An ensemble goes the way of every model: trained, stored, judged by its places, served."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from components.evaluate import step as evaluate
from components.gate import step as gate
from components.register import step as register
from components.train import step as train
from pipelines.bench import ENSEMBLE, UNIFIED, contestants
from recommender.artifact import Model
from recommender.config import Config, parse
from recommender.ensemble import Ensemble
from recommender.errors import ArtifactError, ConfigError
from recommender.evaluation.evidence import Evidence
from recommender.export.engines import engine_for
from recommender.files import read_json
from recommender.registry import Registry
from serving.ask import Ask, Events
from serving.ranking import Found, Ranker

sys.path.append(str(Path(__file__).parents[1] / "recommender" / "training"))
from tiny_world import tiny_config, tiny_dataset

MEMBERS = {"item-knn": 0.5, "popularity": 0.25}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    workspace = tmp_path_factory.mktemp("ensemble") / "workspace"
    plain = tiny_config(workspace, epochs=1, ensemble={"members": MEMBERS}).model_dump(mode="json")
    plain["evaluation"] |= {"rivals": ["popularity"], "resamples": 100, "backtest": None}
    plain["evaluation"]["gate"] |= {"must_beat": [], "must_match": []}
    return parse(plain, "test")


@pytest.fixture(scope="module")
def folder(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The candidate of a train step."""
    root = tmp_path_factory.mktemp("trained")
    tiny_dataset().write(root / "dataset")
    train.run(config.to_json(), "run-1", str(root / "dataset"), str(root / "model"))
    return root / "model" / "candidate"


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return Model.load(folder)


def test_the_train_step_leaves_one_model_of_all_members(model: Model, folder: Path) -> None:
    assert isinstance(model.scorer, Ensemble)
    told = [(each.name, each.scorer.kind, each.weight) for each in model.scorer.members]
    others = [(name, name, weight) for name, weight in MEMBERS.items()]
    assert told == [("unified", "transformer", 1.0), *others]
    assert read_json(folder / "model.json")["kind"] == "ensemble"
    assert not model.reads_profiles
    assert not model.reads_surfaces


def test_what_was_saved_scores_the_same_to_the_bit(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    model.save(tmp_path / "again")
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_it_is_judged_and_registered_as_any_candidate(folder: Path, config: Config) -> None:
    root = folder.parents[1]
    places = [str(root / name) for name in ("dataset", "model", "evaluation", "decision")]
    evaluate.run(config.to_json(), "run-1", *places[:3])
    evidence = Evidence.read(root / "evaluation")
    assert evidence.systems[0].kind == "ensemble"
    gate.run(config.to_json(), "run-1", places[2], places[3])
    version = register.run(config.to_json(), "run-1", *places)
    registry = Registry.configured(config)
    assert isinstance(Model.load(registry.fetch(version)).scorer, Ensemble)


def test_the_endpoint_answers_with_chances_of_the_unified_member(
    model: Model, folder: Path, config: Config
) -> None:
    assert engine_for(model.scorer, folder, config.serving.compute) is model.scorer
    ranker = Ranker(model)
    ranker.warm_up()
    ids = model.scorer.catalogue.ids
    read = Events(ids[:3], ["click"] * 3, range(1, 4), [float("nan")] * 3)
    (answer,) = ranker.answer([Ask(history=[], k=5, time=9)], [Found(read)])
    assert len(answer.items) == 5
    _, histories = ranker.read([Ask(history=[], time=9)], [Found(read)])
    scores = model.scorer.scores(histories)[0]
    assert answer.scores == tuple(np.sort(scores)[::-1][:5].tolist())
    rows = np.array([[ids.index(item) for item in answer.items]])
    chances = model.scorer.members[0].scorer.action_probabilities(histories, rows)
    np.testing.assert_allclose(answer.tasks["purchase"], chances[0, :, 2], rtol=1e-5)


def test_a_member_that_lacks_an_array_is_an_unreadable_model(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    arrays = load_file(broken / "weights.safetensors")
    kept = {name: each for name, each in arrays.items() if not name.startswith("popularity/")}
    save_file(kept, broken / "weights.safetensors")
    with pytest.raises(ArtifactError, match="don't fit"):
        Model.load(broken)


def test_it_takes_part_in_a_contest_where_it_has_members(config: Config) -> None:
    asked = contestants(config, ["popularity", ENSEMBLE, UNIFIED])
    assert [each.name for each in asked] == [UNIFIED, "popularity", ENSEMBLE]
    bare = config.model_copy(
        update={"training": config.training.model_copy(update={"ensemble": None})}
    )
    with pytest.raises(ConfigError, match="no members"):
        contestants(bare, [ENSEMBLE])
