"""What was learned on one catalogue helps on another one whose items are described alike."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_world import ACTIONS, tiny_config, tiny_dataset

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config, parse
from recommender.ensemble import Ensemble, Member
from recommender.errors import ArtifactError, ConfigError, TrainingError
from recommender.forgetting.suppression import Suppressions
from recommender.model.people import PeopleCodes
from recommender.model.scorer import TransformerScorer
from recommender.privacy import pseudonyms
from recommender.registry import Decision, Lineage, Registry, RetrainMark, Status
from recommender.training.fresh_module import fresh_module
from recommender.training.identity import fingerprint
from recommender.training.log_read import examples_before, log_read
from recommender.training.run import train
from recommender.training.validation import Validation


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A trained model and its data set, on file."""
    torch.set_num_threads(1)
    root, data = tmp_path_factory.mktemp("origin"), tiny_dataset()
    config = tiny_config(root / "state", epochs=6, refit=False)
    train(data, data.folds[0], config).model.save(root / "model")
    data.write(root / "dataset")
    return root, data


@pytest.fixture
def elsewhere(origin):
    """The same shop under other names, in another order: nothing but words in common."""
    _, data = origin
    count = len(data.catalogue)
    order = np.arange(count)[::-1].copy()
    place = np.argsort(order)
    items = data.items.take(pa.array(order))
    names = pa.array([f"z{row:03}" for row in range(count)])
    items = items.set_column(items.column_names.index("item_id"), "item_id", names)
    log = replace(data.log, items=place[data.log.items].astype(np.int32))
    return replace(data, items=items, text=data.text[order], log=log)


def begun(data, config) -> TransformerScorer:
    fold = data.folds[0]
    examples = examples_before(data, fold.validation_start, config)
    return TransformerScorer(fresh_module(data, examples, config), data.catalogue)


def transferring(settings, root, **tree) -> Config:
    base = settings(epochs=1).model_dump(mode="json")
    named = {"model": str(root / "model"), "dataset": str(root / "dataset")}
    return parse(base | {"transfer": named} | tree, "test")


def test_before_any_training_it_knows_which_words_follow_which(origin, elsewhere, settings):
    root, _ = origin
    fold = elsewhere.folds[0]
    asked = Validation.build(
        elsewhere.log, fold.validation_start, fold.test_start, 40, ACTIONS, 50, 5, 1000
    )
    moved = begun(elsewhere, transferring(settings, root))
    fresh = begun(elsewhere, settings(epochs=1))
    assert len(asked) > 20
    there, here = asked.ndcg(moved), asked.ndcg(fresh)
    assert there > here + 0.01, (there, here)


def test_no_item_s_own_part_is_taken_along_and_everything_else_is(origin, elsewhere, settings):
    root, _ = origin
    source = Model.load(root / "model").scorer.weights()
    moved = begun(elsewhere, transferring(settings, root)).weights()
    fresh = begun(elsewhere, settings(epochs=1)).weights()
    for name in ("tower.id_ID", "popularity.rest_I", "popularity.popularity_IF"):
        assert np.array_equal(moved[name], fresh[name]), name
    for name in source:
        if name.startswith(("blocks.", "request.")) or name == "tower.projection_DV":
            assert np.array_equal(moved[name], source[name]), name
    assert np.abs(moved["tower.text_IV"][::-1] - source["tower.text_IV"]).max() < 1e-2


def test_event_types_are_matched_by_their_names(origin, elsewhere, settings):
    root, _ = origin
    source = Model.load(root / "model").scorer.weights()["inputs.action.weight"]
    other = ACTIONS.model_copy(update={"types": ("purchase", "click", "impression", "wish")})
    config = transferring(settings, root, actions=other.model_dump(mode="json"))
    moved = begun(elsewhere, config).weights()["inputs.action.weight"]
    assert np.array_equal(moved[:4], source[[0, 3, 2, 1]])
    assert not any(np.array_equal(moved[4], row) for row in source)


def reading(data, surfaces, sexes, workspace, **tree):
    """Return the data with people and surfaces, and settings by which a module reads them all."""
    log = data.log
    codes = (np.arange(len(log)) % 3).astype(np.int8)
    people = pa.table({"user": pa.array(log.users), "sex": pa.array(sexes * (len(log.users) // 2))})
    stars = (1 + np.arange(len(log)) % 5).astype(np.float32)
    told = replace(data, log=replace(log, surfaces=codes, values=stars), attributes=people)
    base = tiny_config(workspace, epochs=1).model_dump(mode="json")
    value = {"name": "rating", "events": ["click"]} | tree.pop("value", {})
    base["actions"]["surfaces"] = surfaces
    base["model"] |= {
        "user_attributes": ["sex"],
        "surface": True,
        "ranking": {"head": "target", "values": [value]},
    }
    return told, parse(base | tree, "test")


def module_of(data, config):
    log = log_read(data, config)
    people = PeopleCodes.learned(log.people, config.model.user_attributes)
    examples = examples_before(data, data.folds[0].validation_start, config, people)
    return fresh_module(data, examples, config, people)


def test_rows_that_mean_other_things_are_not_taken_along(tmp_path):
    data, config = reading(tiny_dataset(), ["home", "search"], ["f", "m"], tmp_path)
    source = module_of(data, config)
    with torch.no_grad():
        for value in source.parameters():
            value.normal_()
    scorer = TransformerScorer(source, data.catalogue)
    Model(scorer, data.titles, config.actions, 10).save(tmp_path / "model")
    data.write(tmp_path / "dataset")
    named = {"model": str(tmp_path / "model"), "dataset": str(tmp_path / "dataset")}
    had = source.state_dict()

    def taken(surfaces, sexes, **value):
        there = reading(tiny_dataset(), surfaces, sexes, tmp_path, transfer=named, value=value)
        ours = module_of(*there).state_dict()
        return {name for name, value in ours.items() if torch.equal(value, had[name])}

    surfaces = {"inputs.action.surface.weight", "request.surface.weight"}
    people, values = {"inputs.person.table.weight"}, {"action.values.out.weight"}
    alike = taken(["home", "search"], ["f", "m"])
    assert surfaces | people | values <= alike
    assert "action.target.own_ID" not in alike
    other = taken(["search", "home"], ["woman", "man"], events=["purchase"])
    assert not (surfaces | people | values) & other
    assert "inputs.action.weight" in other


def test_it_trains_on_from_there(origin, elsewhere, settings):
    root, _ = origin
    config = transferring(settings, root)
    trained = train(elsewhere, elsewhere.folds[0], config)
    assert np.isfinite([epoch.item_loss for epoch in trained.curve]).all()
    fold = elsewhere.folds[0]
    assert fingerprint(elsewhere, fold, config) != fingerprint(elsewhere, fold, settings(epochs=1))


def test_a_model_that_saw_somebody_who_was_forgotten_is_not_started_from(
    origin, elsewhere, settings, tmp_path
):
    root, data = origin
    config = transferring(settings, root)
    Suppressions(config.paths).add("ann")
    begun(elsewhere, config)  # she is in neither

    ann = pseudonyms(config.paths.keys).of("ann")
    users = (ann, *data.log.users[1:])
    replace(data, log=replace(data.log, users=users)).write(tmp_path / "hers")
    named = {"model": str(root / "model"), "dataset": str(tmp_path / "hers")}
    with pytest.raises(TrainingError, match="holds 1 people who were forgotten since"):
        begun(elsewhere, transferring(settings, root, transfer=named))

    registry = Registry.configured(config)
    lineage = Lineage("run-1", "d-1", config.fingerprint(), {}, "", data.folds)
    version = registry.register(root / "model", lineage, Decision("run-1", Status.PASSED))
    begun(elsewhere, config)
    registry.mark_for_retraining(version, RetrainMark("t-1", "d-1", True))
    with pytest.raises(TrainingError, match=f"{version}.* saw 1 people who were forgotten since"):
        begun(elsewhere, config)


def test_what_does_not_belong_together_is_said(origin, elsewhere, settings, tmp_path):
    root, data = origin
    config = transferring(settings, root)
    with pytest.raises(ConfigError, match="reads words by made up"):
        begun(replace(elsewhere, encoder="another"), config)
    wide = settings().model_dump(mode="json")["model"] | {"width": 32}
    with pytest.raises(TrainingError, match="train both with the same"):
        begun(elsewhere, transferring(settings, root, model=wide))
    noise = np.random.default_rng(0).normal(size=data.text.shape).astype(np.float32)
    replace(data, text=noise).write(tmp_path / "dataset")
    named = {"model": str(root / "model"), "dataset": str(tmp_path / "dataset")}
    with pytest.raises(TrainingError, match="was not trained on the data set beside it"):
        begun(elsewhere, transferring(settings, root, transfer=named))
    Model(Popularity(data.catalogue, np.ones(40, np.float32)), data.titles, ACTIONS, 10).save(
        tmp_path / "popular"
    )
    named = {"model": str(tmp_path / "popular"), "dataset": str(root / "dataset")}
    with pytest.raises(TrainingError, match="nothing that could be transferred"):
        begun(elsewhere, transferring(settings, root, transfer=named))
    named = {"model": str(tmp_path / "nowhere"), "dataset": str(root / "dataset")}
    with pytest.raises(ArtifactError):
        begun(elsewhere, transferring(settings, root, transfer=named))
    with pytest.raises(ConfigError, match="go together"):
        transferring(settings, root, transfer={"model": "somewhere"})


def test_an_ensemble_gives_what_its_unified_model_learned(origin, elsewhere, settings, tmp_path):
    root, data = origin
    alone = Model.load(root / "model")
    counted = Popularity(data.catalogue, np.ones(40, np.float32))
    members = [Member("unified", alone.scorer, 1.0, 10), Member("popularity", counted, 1.0, 10)]
    replace(alone, scorer=Ensemble(members, 60, False)).save(tmp_path / "together")
    named = {"model": str(tmp_path / "together"), "dataset": str(root / "dataset")}
    of_one = begun(elsewhere, transferring(settings, root)).module
    of_both = begun(elsewhere, transferring(settings, root, transfer=named)).module
    for one, both in zip(of_one.parameters(), of_both.parameters(), strict=True):
        assert torch.equal(one, both)
