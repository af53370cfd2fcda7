"""The evaluate and gate steps: artifacts in, artifacts out, with the real registry."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from kfp import dsl, local
from markupsafe import escape
from served_world import tables as served_tables

from components.evaluate import step as evaluate
from components.evaluate.component import evaluate as evaluate_component
from components.gate import step as gate
from components.gate.component import gate as gate_component
from recommender.baselines.rivals import fit
from recommender.config import Config, parse
from recommender.config.source import SyntheticSource
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.gate import Decision
from recommender.evaluation.long_term.policies import Sampled, TopicTaste
from recommender.evaluation.long_term.simulator import World
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.files import read_json
from recommender.registry import Decision as Recorded
from recommender.registry import Lineage, Registry, RetrainMark, Status
from recommender.served_store import store_of
from recommender.sources.synthetic import generate
from recommender.split import cut

RUN = "run-1"


@dataclass(frozen=True)
class Bench:
    """A data set and a trained candidate on disk, and where the steps write."""

    config: Config
    data: Dataset
    root: Path

    @property
    def dataset(self) -> str:
        return str(self.root / "dataset")

    @property
    def model(self) -> str:
        return str(self.root / "model")

    @property
    def evaluation(self) -> str:
        return str(self.root / "evaluation")

    @property
    def decision(self) -> str:
        return str(self.root / "decision")

    def candidate(self, rival: str) -> None:
        """Let a model of this kind, fitted at each cut, be what the train step left."""
        *earlier, last = [fit(rival, self.data, fold, self.config) for fold in self.data.folds]
        for n, model in enumerate(earlier):
            model.save(Path(self.model) / "folds" / str(n))
        last.save(Path(self.model) / "candidate")

    def judged(self, **gate_settings) -> Decision:
        """Run both steps and return the decision."""
        config = with_gate(self.config, **gate_settings)
        evaluate.run(config.to_json(), RUN, self.dataset, self.model, self.evaluation)
        verdict = gate.run(config.to_json(), RUN, self.evaluation, self.decision)
        decision = Decision.read(Path(self.decision))
        assert decision.verdict == verdict
        return decision

    def summary(self, step: str) -> dict:
        return read_json(self.config.paths.run(RUN) / "steps" / f"{step}.json")["summary"]


def with_gate(config: Config, **settings) -> Config:
    tree = json.loads(config.to_json())
    tree["evaluation"]["gate"] |= settings
    return parse(tree, "test")


@pytest.fixture(scope="module")
def shop() -> tuple[Config, Dataset]:
    """A generated shop, as the materialize step would leave it."""
    config = parse(
        {
            "name": "shop",
            "source": {"kind": "synthetic"},
            "actions": {
                "types": ["impression", "click", "purchase"],
                "history": ["click", "purchase"],
                "exclude_seen": False,
            },
            "split": {"folds": 2},
            "evaluation": {"resamples": 200, "k": [5, 10]},
        },
        "test",
    )
    source = SyntheticSource(users=150, items=40, days=40, sessions_per_user=6)
    tables = generate(source, 3)
    catalogue = Catalogue(tuple(tables.items["item_id"].to_pylist()))
    log = EventLog.build(tables.events, catalogue, config.actions)
    history = log.of_types(config.actions.histories, config.actions)
    folds = cut(history.times, config.split)
    text = np.zeros((len(catalogue), 2), np.float32)
    return config, Dataset(log, tables.items, text, folds, "d-shop", "encoder")


@pytest.fixture
def bench(shop: tuple[Config, Dataset], tmp_path: Path) -> Bench:
    config, data = shop
    data.write(tmp_path / "dataset")
    config = parse(json.loads(config.to_json()) | {"workspace": str(tmp_path / "state")}, "test")
    made = Bench(config, data, tmp_path)
    made.candidate("item-knn")
    return made


PERMISSIVE = {"minimum_users": 50, "must_beat": ["popularity"], "must_match": []}


def test_evaluate_leaves_evidence_users_and_the_frozen_set(bench: Bench) -> None:
    evaluate.run(bench.config.to_json(), RUN, bench.dataset, bench.model, bench.evaluation)
    folder = Path(bench.evaluation)
    evidence = Evidence.read(folder)
    requests = EvaluationSet.load(folder / "requests")
    assert requests.version == evidence.evaluation_set.version
    users = pq.read_table(folder / "users.parquet")
    assert len(users) == evidence.evaluation_set.users == len(requests.log.users)
    assert set(users["user"].to_pylist()) == set(requests.log.users)
    assert evidence.candidate_version.startswith("m-")
    assert "workspace" not in evidence.config
    assert str(bench.root) not in (folder / "evaluation.json").read_text()

    summary = bench.summary("evaluate")
    scores = summary["ndcg@10"]
    rivals = {"popularity", "recent-popularity", "trend-popularity", "item-knn"}
    assert set(scores) == {"candidate", "champion", *rivals}
    assert evidence.forecast_popularity.rival == "recent-popularity"
    assert "38 whole days" in evidence.backtest.reason  # the shop's log is too short for one
    assert scores["candidate"] == scores["item-knn"] > scores["popularity"] > 0
    assert scores["champion"] is None
    assert summary["users"] == len(users)
    difference = summary["difference"]["popularity"]
    assert difference["low"] < difference["estimate"] < difference["high"]
    assert difference["detectable"] > 0


def test_the_first_good_candidate_passes_and_one_page_tells_why(bench: Bench) -> None:
    decision = bench.judged(**PERMISSIVE)
    assert (decision.verdict, decision.action) == ("pass", "deploy")
    page = bench.config.paths.run(RUN) / "evaluation.html"
    assert "✓ Pass" in page.read_text(encoding="utf-8")
    copy = Path(bench.decision) / "evaluation.html"
    assert copy.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    summary = bench.summary("gate")
    assert summary["verdict"] == "pass"
    assert {"rule", "verdict", "reason"} == set(summary["reasons"][0])


def test_logs_of_served_lists_tell_what_a_change_of_versions_did(bench: Bench) -> None:
    made = World.populated(200, 40, 6, 0)
    policy = Sampled(TopicTaste(made.topics, made.quality), 3, 0.4)
    assigned = np.zeros((40, 200), np.int64)
    assigned[20:, :] = 1
    journal = made.run([policy, policy], 40, 1, assigned)
    began = (time.time_ns() // 1_000_000 // DAY_MS - 40) * DAY_MS
    served, feedback = served_tables(journal, ["m-old", "m-new"], began)
    store = store_of(bench.config.serving.log, bench.config.paths)
    store.write("served", served)
    store.write("feedback", feedback)

    evaluate.run(bench.config.to_json(), RUN, bench.dataset, bench.model, bench.evaluation)
    found = Evidence.read(Path(bench.evaluation)).findings.versions
    assert [each.version for each in found.versions] == ["m-old", "m-new"]
    assert found.people <= 200
    series = next(each for each in found.effects if each.method == "interrupted time series")
    assert series.effect.low < 0 < series.effect.high  # it was the same policy
    page = (bench.config.paths.run(RUN) / "evaluation.html").read_text(encoding="utf-8")
    assert "From m-old to m-new" in page
    for lines in found.caveats.values():
        assert all(escape(line) in page for line in lines)


def test_before_the_gate_the_page_is_there_without_a_verdict(bench: Bench) -> None:
    evaluate.run(bench.config.to_json(), RUN, bench.dataset, bench.model, bench.evaluation)
    page = bench.config.paths.run(RUN) / "evaluation.html"
    assert "Not judged yet" in page.read_text(encoding="utf-8")


def test_one_user_too_few_is_insufficient(bench: Bench) -> None:
    users = bench.judged(**PERMISSIVE).rules[2].users
    assert bench.judged(**{**PERMISSIVE, "minimum_users": users}).verdict == "pass"
    assert bench.judged(**{**PERMISSIVE, "minimum_users": users + 1}).verdict == "insufficient"


def test_a_candidate_that_is_no_better_than_popularity_fails(bench: Bench) -> None:
    bench.candidate("popularity")
    decision = bench.judged(**PERMISSIVE)
    assert (decision.verdict, decision.action) == ("fail", "reject")
    assert "not better than popularity" in decision.headline


def crown(bench: Bench, rival: str, **changes) -> str:
    """Make a model of this kind the champion of the bench's registry."""
    folder = bench.root / "reigning"
    fit(rival, bench.data, bench.data.folds[-1], bench.config).save(folder)
    lineage = Lineage("run-0", "d-shop", "fp", {"name": "shop"}, "src-0", bench.data.folds)
    registry = Registry.of(bench.config.paths)
    recorded = Recorded("run-0", Status.PASSED)
    version = registry.register(folder, replace(lineage, **changes), recorded)
    registry.promote(version)
    return version


def test_the_registrys_champion_is_re_scored_and_must_not_be_lost_against(bench: Bench) -> None:
    version = crown(bench, "item-knn")
    bench.candidate("popularity")
    decision = bench.judged(minimum_users=50, must_beat=[], must_match=[])
    assert decision.champion_version == version
    assert decision.verdict == "fail"
    assert f"worse than the champion {version}" in decision.headline
    assert bench.summary("evaluate")["ndcg@10"]["champion"] > 0


def test_marks_on_the_champion_reach_the_evidence_the_decision_and_the_report(
    bench: Bench,
) -> None:
    version = crown(bench, "item-knn")
    registry = Registry.of(bench.config.paths)
    for ticket in ("t-1", "t-2"):
        assert registry.mark_for_retraining(version, RetrainMark(ticket, "d-shop", certain=True))
    bench.candidate("popularity")
    decision = bench.judged(minimum_users=50, must_beat=[], must_match=[])
    evidence = Evidence.read(Path(bench.evaluation))
    assert evidence.champion is not None
    assert (evidence.champion.version, evidence.champion.to_replace) == (version, 2)
    # A worse model does not replace it; but that something must is said.
    assert decision.action != "deploy"
    assert "It is urgent: the champion saw 2 of those forgotten" in decision.headline
    page = bench.config.paths.run(RUN) / "evaluation.html"
    assert "2 of those who asked to be forgotten" in page.read_text(encoding="utf-8")


def test_the_same_model_again_is_not_deployed_again(bench: Bench) -> None:
    version = crown(bench, "item-knn")
    decision = bench.judged(**PERMISSIVE)
    assert decision.candidate_version == version
    assert (decision.verdict, decision.action) == ("fail", "keep champion")
    assert "byte for byte the champion" in decision.headline


def test_a_tampered_champion_stops_the_step_by_name(bench: Bench) -> None:
    version = crown(bench, "item-knn")
    stored = bench.config.paths.registry / "models" / version / "items.json"
    stored.write_bytes(stored.read_bytes() + b"x")
    with pytest.raises(SystemExit, match=r"items\.json"):
        bench.judged(**PERMISSIVE)


def test_a_missing_fold_model_is_named(bench: Bench) -> None:
    (Path(bench.model) / "folds" / "0" / "model.json").unlink()
    with pytest.raises(SystemExit, match=r"folds/0 is not a readable model"):
        bench.judged(**PERMISSIVE)


def test_a_missing_evaluation_is_named(bench: Bench) -> None:
    with pytest.raises(SystemExit, match=r"evaluation\.json does not exist"):
        gate.run(bench.config.to_json(), RUN, bench.evaluation, bench.decision)


def test_the_component_functions_hand_over_paths(bench: Bench) -> None:
    config = with_gate(bench.config, **PERMISSIVE).to_json()
    evaluation = dsl.Artifact(uri=bench.evaluation)
    evaluate_component.python_func(
        config=config,
        run_id=RUN,
        dataset=dsl.Dataset(uri=bench.dataset),
        model=dsl.Model(uri=bench.model),
        evaluation=evaluation,
    )
    decision = dsl.Artifact(uri=bench.decision)
    verdict = gate_component.python_func(
        config=config, run_id=RUN, evaluation=evaluation, decision=decision
    )
    assert verdict == decision.metadata["verdict"] == "pass"


@pytest.mark.slow
def test_kfps_local_runner_runs_both_and_the_verdict_is_a_parameter(bench: Bench) -> None:
    root = bench.root / "kfp"
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        raise_on_error=True,
    )
    config = with_gate(bench.config, **PERMISSIVE).to_json()

    @dsl.pipeline(name="judge")
    def judge(config: str, run_id: str) -> str:
        data = dsl.importer(artifact_uri=bench.dataset, artifact_class=dsl.Dataset, reimport=False)
        model = dsl.importer(artifact_uri=bench.model, artifact_class=dsl.Model, reimport=False)
        evaluated = evaluate_component(
            config=config, run_id=run_id, dataset=data.output, model=model.output
        )
        judged = gate_component(
            config=config, run_id=run_id, evaluation=evaluated.outputs["evaluation"]
        )
        return judged.outputs["Output"]

    task = judge(config=config, run_id=RUN)
    assert task.output == "pass"
    assert list(root.rglob("decision.json"))
