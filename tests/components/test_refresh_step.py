"""The steps of a refresh: the champion out of the registry, a candidate into the gate."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from components.champion import step as champion
from components.evaluate import step as evaluate
from components.gate import step as gate
from components.refresh import step as refresh
from components.register import step as register
from recommender.artifact import Model
from recommender.config import Config, parse
from recommender.ensemble import Ensemble, unified_of
from recommender.features.dataset import Dataset
from recommender.files import read_json, write_json
from recommender.model import adapters
from recommender.model.scorer import TransformerScorer
from recommender.registry import Decision, Lineage, Registry, RetrainMark, Status
from recommender.training.run import train

sys.path.append(str(Path(__file__).parents[1] / "recommender" / "training"))
from tiny_world import tiny_config, tiny_dataset

RUN = "run-2"


@dataclass(frozen=True)
class Shop:
    """A workspace whose champion was trained on the first cut, and a data set with the last."""

    config: Config
    root: Path
    version: str

    @property
    def registry(self) -> Registry:
        return Registry.of(self.config.paths)

    def path(self, name: str) -> str:
        return str(self.root / name)

    def fetch(self) -> None:
        champion.run(self.config.to_json(), RUN, self.path("champion"))

    def refresh(self, **settings: object) -> Path:
        tree = self.config.model_dump(mode="json")
        tree["refresh"] |= {"epochs": 1, **settings}
        given = parse(tree, "test").to_json()
        refresh.run(given, RUN, self.path("dataset"), self.path("champion"), self.path("model"))
        return self.root / "model"

    def summary(self, step: str) -> dict:
        return read_json(self.config.paths.run(RUN) / "steps" / f"{step}.json")["summary"]


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Shop:
    root = tmp_path_factory.mktemp("before")
    config, data = tiny_config(root / "state", epochs=1), tiny_dataset(folds=3)
    first, last = data.folds[0], data.folds[-1]
    train(data, first, config).model.save(root / "made")
    replace(data, folds=(last,)).write(root / "dataset")
    lineage = Lineage(
        "run-1",
        "d-1",
        config.fingerprint(),
        config.model_dump(mode="json"),
        "",
        (first,),
        "made up",
    )
    registry = Registry.of(config.paths)
    version = registry.register(root / "made", lineage, Decision("run-1", Status.PASSED))
    registry.promote(version)
    return Shop(config, root, version)


@pytest.fixture
def shop(before: Shop, tmp_path: Path) -> Shop:
    shutil.copytree(before.root, tmp_path / "shop")
    tree = before.config.model_dump(mode="json") | {"workspace": str(tmp_path / "shop" / "state")}
    return Shop(parse(tree, "test"), tmp_path / "shop", before.version)


def test_a_refreshed_model_goes_the_way_of_every_candidate(shop):
    shop.fetch()
    shop.refresh()
    told = shop.summary("refresh")
    assert told["from"] == shop.version
    assert told["recent"] > 0
    artifacts = [shop.path(name) for name in ("dataset", "model", "evaluation")]
    tree = shop.config.model_dump(mode="json")
    tree["evaluation"] |= {"resamples": 100, "rivals": ["popularity"]}
    tree["evaluation"]["gate"] |= {"minimum_users": 5, "must_beat": [], "must_match": []}
    config = parse(tree, "test").to_json()
    evaluate.run(config, RUN, *artifacts)
    assert shop.summary("evaluate")["champion"] == shop.version
    verdict = gate.run(config, RUN, shop.path("evaluation"), shop.path("decision"))
    version = register.run(config, RUN, *artifacts, shop.path("decision"))
    lineage = shop.registry.lineage(version)
    assert lineage.parents == (shop.version,)
    assert lineage.training["refresh"]["recent"] == told["recent"]
    decided = shop.registry.decisions(version)[-1].status
    assert (verdict == "pass") == (decided is Status.PASSED)
    assert (shop.registry.candidate() == version) == (verdict == "pass")
    assert shop.registry.champion() == shop.version


def test_adapters_lie_signed_beside_the_merged_weights(shop):
    shop.fetch()
    candidate = shop.refresh(method="lora") / "candidate"
    described = read_json(candidate / refresh.ADAPTER / adapters.CONFIG)
    assert described["base_model_name_or_path"] == shop.version
    assert described["peft_type"] == "LORA"
    data = Dataset.read(shop.root / "dataset")
    lineage = replace(shop.registry.lineage(shop.version), parents=(shop.version,))
    version = shop.registry.register(candidate, lineage, Decision(RUN, Status.PASSED))
    fetched = shop.registry.fetch(version)
    assert (fetched / refresh.ADAPTER / adapters.WEIGHTS).exists()
    history = data.log.of_types(shop.config.actions.histories, shop.config.actions)
    users = np.arange(len(history.users))
    asked = history.histories(users, np.full(len(users), data.folds[0].test_start), 10)
    assert np.isfinite(Model.load(fetched).scorer.scores(asked)).all()


def test_what_a_second_refresh_starts_from_ends_where_the_first_one_did(shop):
    shop.fetch()
    candidate, data = shop.refresh() / "candidate", Dataset.read(shop.root / "dataset")
    first = replace(shop.registry.lineage(shop.version), folds=data.folds, parents=(shop.version,))
    version = shop.registry.register(candidate, first, Decision(RUN, Status.PASSED))
    shop.registry.promote(version)
    champion.run(shop.config.to_json(), "run-3", shop.path("again"))
    facts = read_json(shop.root / "again" / champion.FACTS)
    seen_until = data.folds[0].test_start
    assert facts == {"version": version, "seen_until": seen_until, "encoder": "made up"}
    with pytest.raises(SystemExit, match=r"nothing that could be learned happened[^→]*→ wait"):
        refresh.run(
            shop.config.to_json(), "run-3", shop.path("dataset"), shop.path("again"), shop.path("m")
        )


def test_a_model_without_refit_has_seen_no_validation_window(shop, tmp_path):
    lineage = shop.registry.lineage(shop.version)
    tree = shop.config.model_dump(mode="json")
    tree["training"]["refit"] = False
    other = tmp_path / "other"
    shutil.copytree(shop.root / "made", other)
    described = read_json(other / "items.json")
    write_json(other / "items.json", described | {"title": ["x"] * len(described["title"])})
    version = shop.registry.register(
        other, replace(lineage, config=tree), Decision("run-1", Status.PASSED)
    )
    shop.registry.promote(version)
    shop.fetch()
    facts = read_json(shop.root / "champion" / champion.FACTS)
    assert facts["seen_until"] == lineage.folds[-1].validation_start < lineage.test_start


def test_without_a_champion_or_with_one_that_saw_the_forgotten_nothing_is_refreshed(shop):
    empty = shop.config.model_copy(update={"workspace": str(shop.root / "empty")})
    with pytest.raises(SystemExit, match=r"no champion that could be refreshed[^→]*→ train one"):
        champion.run(empty.to_json(), RUN, shop.path("champion"))
    shop.registry.mark_for_retraining(shop.version, RetrainMark("t-1", "d-1", True))
    with pytest.raises(SystemExit, match=r"saw 1 people who were forgotten[^→]*→ train anew"):
        champion.run(shop.config.to_json(), "run-3", shop.path("champion"))
    assert not (shop.root / "champion").exists()


def test_a_data_set_of_another_encoder_is_refused_by_name(shop):
    shop.fetch()
    data = Dataset.read(shop.root / "dataset")
    shutil.rmtree(shop.root / "dataset")
    # The very same vectors: it is the name that tells.
    replace(data, encoder="another@1").write(shop.root / "dataset")
    with pytest.raises(SystemExit, match=r"by made up, the data set's vectors are by another@1"):
        shop.refresh()


def together(shop: Shop, store: str | None = None) -> Shop:
    """The shop with a fused model, and its figures in a store."""
    tree = shop.config.model_dump(mode="json")
    tree["training"]["ensemble"] = {"members": {"popularity": 0.5}}
    tree["tracking"] = {"mlflow": store}
    return replace(shop, config=parse(tree, "test"))


def test_a_refreshed_model_is_fused_as_a_trained_one_is(shop):
    shop.fetch()
    model = Model.load(together(shop).refresh() / "candidate")
    assert isinstance(model.scorer, Ensemble)
    assert [each.name for each in model.scorer.members] == ["unified", "popularity"]
    assert model.scorer.members[0].scorer.kind == "transformer"


@pytest.mark.slow
def test_a_refresh_is_tracked_and_an_ensemble_in_production_goes_on(shop):
    from mlflow.tracking import MlflowClient

    shop.fetch()
    store = f"file:{shop.root / 'mlflow'}"
    model = Model.load(together(shop, store).refresh(method="lora") / "candidate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(tracking_uri=store)
        experiment = client.get_experiment_by_name("tiny")
        (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.tags["phase"] == "refresh"
    assert run.data.params["refresh.method"] == '"lora"'
    assert np.isfinite(run.data.metrics["loss_item"])

    # The ensemble takes the champion's place; what it learned until is as it was.
    shutil.rmtree(shop.root / "champion" / champion.MODEL)
    model.save(shop.root / "champion" / champion.MODEL)
    before = unified_of(model.scorer).weights()["tower.id_ID"]
    again = Model.load(together(shop).refresh() / "candidate").scorer
    assert isinstance(again, Ensemble)
    assert not np.array_equal(unified_of(again).weights()["tower.id_ID"], before)
    alone = Model.load(shop.refresh() / "candidate").scorer
    assert isinstance(alone, TransformerScorer)


def test_rolling_cuts_and_a_damaged_description_are_refused(shop):
    shop.fetch()
    facts = shop.root / "champion" / champion.FACTS
    write_json(facts, {"version": shop.version})
    with pytest.raises(SystemExit, match="does not describe a champion"):
        shop.refresh()
    rolling = shop.config.model_copy(update={"workspace": str(shop.root / "rolling")})
    shutil.rmtree(shop.root / "dataset")
    tiny_dataset(folds=2).write(shop.root / "dataset")
    with pytest.raises(SystemExit, match=r"split.folds is 2[^→]*→ use `ostinato refresh`"):
        replace(shop, config=rolling).refresh()
    assert rolling.with_one_cut().split.folds == 1


def test_an_answer_for_people_without_history_that_cannot_be_made_is_told_before_the_training(shop):
    shop.fetch()
    # A champion that has seen everything: the refresh itself would say that nothing has happened.
    (fold,) = Dataset.read(shop.root / "dataset").folds
    facts = {"version": shop.version, "seen_until": fold.test_start}
    write_json(shop.root / "champion" / champion.FACTS, facts)
    tree = shop.config.model_dump(mode="json")
    tree["serving"]["cold_users"] = "social"
    with pytest.raises(SystemExit, match=r"no follow graph[^→]*→ set serving.cold_users: popular"):
        replace(shop, config=parse(tree, "test")).refresh()
