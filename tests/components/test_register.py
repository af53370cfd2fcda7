"""The register step: whatever the gate said is kept; only what passed becomes the candidate."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl, local

from components.evaluate import step as evaluate
from components.gate import step as gate
from components.register import step as register
from components.register.component import register as register_component
from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.config import Config, parse
from recommender.config.source import SyntheticSource
from recommender.errors import RegistryError
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.gate import Decision as Verdict
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.files import read_json, write_json
from recommender.registry import Registry, Status
from recommender.sources.synthetic import generate
from recommender.split import cut

GATES = {
    "pass": {"minimum_users": 20, "must_beat": ["popularity"], "must_match": []},
    "fail": {"minimum_users": 20, "implausible_ndcg": 0.0001},
    "insufficient": {"minimum_users": 100_000, "must_beat": [], "must_match": []},
}


@dataclass(frozen=True)
class Made:
    """What the steps before left, and a workspace of its own."""

    config: Config
    folder: Path

    def artifacts(self) -> list[str]:
        names = ("dataset", "model", "evaluation", "decision")
        return [str(self.folder / name) for name in names]

    def register(self, run_id: str = "run-1") -> str:
        return register.run(self.config.to_json(), run_id, *self.artifacts())

    @property
    def registry(self) -> Registry:
        return Registry.of(self.config.paths)

    def summary(self, run_id: str = "run-1") -> dict:
        return read_json(self.config.paths.run(run_id) / "steps" / "register.json")["summary"]

    def judge(self, verdict: str) -> None:
        """Let the real gate decide, by a policy that must come to this verdict."""
        tree = json.loads(self.config.to_json())
        tree["evaluation"]["gate"] |= GATES[verdict]
        judged = parse(tree, "test").to_json()
        told = gate.run(judged, "run-1", *self.artifacts()[2:])
        assert told == verdict


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A trained candidate and its evaluation, by the real steps."""
    folder = tmp_path_factory.mktemp("before")
    tree = {
        "name": "shop",
        "workspace": str(folder / "state"),
        "source": {"kind": "synthetic"},
        "actions": {
            "types": ["impression", "click", "purchase"],
            "history": ["click", "purchase"],
            "exclude_seen": False,
        },
        "evaluation": {"resamples": 100, "k": [5, 10]},
    }
    config = parse(tree, "test")
    tables = generate(SyntheticSource(users=120, items=30, days=40, sessions_per_user=6), 3)
    catalogue = Catalogue(tuple(tables.items["item_id"].to_pylist()))
    log = EventLog.build(tables.events, catalogue, config.actions)
    folds = cut(log.of_types(config.actions.histories, config.actions).times, config.split)
    text = np.zeros((len(catalogue), 2), np.float32)
    data = Dataset(log, tables.items, text, folds, "d-shop", "encoder@1")
    data.write(folder / "dataset")
    fit("item-knn", data, data.folds[-1], config).save(folder / "model" / "candidate")
    curve = {"folds": [{"best_epoch": 3, "validation_ndcg": 0.1, "epochs": []}]}
    write_json(folder / "model" / "training.json", curve)
    artifacts = [str(folder / name) for name in ("dataset", "model", "evaluation")]
    evaluate.run(config.to_json(), "run-1", *artifacts)
    return Made(config, folder)


@pytest.fixture
def made(before: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.delenv("OSTINATO_SIGNING_KEY", raising=False)
    monkeypatch.delenv("OSTINATO_PUBLIC_KEY", raising=False)
    for name in ("dataset", "model", "evaluation"):
        shutil.copytree(before.folder / name, tmp_path / name)
    tree = json.loads(before.config.to_json()) | {"workspace": str(tmp_path / "state")}
    return Made(parse(tree, "test"), tmp_path)


def test_what_passed_is_signed_stored_with_its_lineage_and_becomes_the_candidate(
    made: Made,
) -> None:
    made.judge("pass")
    version = made.register()
    registry = made.registry
    assert (registry.candidate(), registry.champion()) == (version, None)
    fetched = Model.load(registry.fetch(version))
    assert fetched.titles == Model.load(made.folder / "model" / "candidate").titles
    lineage, data = registry.lineage(version), Dataset.read(made.folder / "dataset")
    assert lineage.data_version == "d-shop"
    assert lineage.encoder == "encoder@1"
    assert lineage.folds == data.folds
    assert lineage.test_start == data.folds[-1].test_start
    assert lineage.config_fingerprint == made.config.fingerprint()
    assert parse(lineage.config, "lineage") == made.config
    assert lineage.code_version.startswith("src-")
    assert lineage.training["folds"][-1]["best_epoch"] == 3
    measured = Evidence.read(made.folder / "evaluation").system("candidate")
    assert measured is not None
    told = lineage.metrics["candidate"]["ndcg@10"]
    assert told["estimate"] == measured.metrics["ndcg@10"].estimate
    assert told["low"] < told["estimate"] < told["high"]
    (decision,) = registry.decisions(version)
    assert decision.report == "runs/run-1/evaluation.html"
    assert (made.config.paths.root / decision.report).is_file()
    assert decision.detail["verdict"] == "pass"
    assert decision.detail["rules"]
    assert made.summary()["version"] == version
    assert made.summary()["status"] == "passed"


@pytest.mark.parametrize(
    ("verdict", "status"), [("fail", Status.REJECTED), ("insufficient", Status.INSUFFICIENT)]
)
def test_what_did_not_pass_is_kept_with_its_report_but_never_becomes_champion(
    made: Made, verdict: str, status: Status
) -> None:
    made.judge(verdict)
    version = made.register()
    registry = made.registry
    assert registry.versions() == (version,)
    assert registry.candidate() is None
    assert [decision.status for decision in registry.decisions(version)] == [status]
    with pytest.raises(RegistryError, match=r"runs/run-1/evaluation\.html"):
        registry.promote(version)


def test_a_retried_step_is_the_same_version_and_the_same_decision(made: Made) -> None:
    made.judge("pass")
    assert made.register() == made.register()
    assert len(made.registry.decisions(made.summary()["version"])) == 1


def test_the_champion_made_again_stays_a_good_version(made: Made) -> None:
    made.judge("pass")
    version = made.register()
    made.registry.promote(version)
    evaluate.run(made.config.to_json(), "run-2", *made.artifacts()[:3])
    tree = json.loads(made.config.to_json())
    tree["evaluation"]["gate"] |= GATES["pass"]
    assert gate.run(parse(tree, "test").to_json(), "run-2", *made.artifacts()[2:]) == "fail"
    assert Verdict.read(made.folder / "decision").action == "keep champion"
    assert made.register("run-2") == version
    registry = made.registry
    assert [d.status for d in registry.decisions(version)] == [Status.PASSED, Status.UNCHANGED]
    assert (registry.champion(), registry.candidate()) == (version, None)
    registry.promote(version)


def test_a_decision_about_another_model_is_refused(made: Made) -> None:
    made.judge("pass")
    data = Dataset.read(made.folder / "dataset")
    other = fit("popularity", data, data.folds[-1], made.config)
    other.save(made.folder / "model" / "candidate")
    with pytest.raises(SystemExit, match=r"the evaluation is about m-\w+, but .* is m-"):
        made.register()
    assert made.registry.versions() == ()


def test_a_registry_that_cannot_be_written_leaves_everything_as_it_was(made: Made) -> None:
    made.judge("pass")
    made.config.paths.root.mkdir(exist_ok=True)
    made.config.paths.registry.write_text("a file where the folder should be")
    with pytest.raises(SystemExit, match=r"register: .*registry"):
        made.register()
    record = read_json(made.config.paths.run("run-1") / "steps" / "register.json")
    assert record["status"] == "failed"


def test_a_model_with_a_file_that_may_run_code_is_refused(made: Made) -> None:
    made.judge("pass")
    (made.folder / "model" / "candidate" / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(SystemExit, match=r"model\.pkl"):
        made.register()
    assert made.registry.versions() == ()


def test_the_component_registers_in_a_real_local_run(made: Made, tmp_path: Path) -> None:
    made.judge("pass")
    dataset, model, evaluation, decision = made.artifacts()

    @dsl.pipeline(name="registering")
    def registering(config: str) -> str:
        given = {
            name: dsl.importer(artifact_uri=uri, artifact_class=kind, reimport=False).output
            for name, uri, kind in (
                ("dataset", dataset, dsl.Dataset),
                ("model", model, dsl.Model),
                ("evaluation", evaluation, dsl.Artifact),
                ("decision", decision, dsl.Artifact),
            )
        }
        return register_component(config=config, run_id="run-1", **given).output

    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    version = registering(config=made.config.to_json()).output
    assert made.registry.candidate() == version
