"""The deploy step, called as the pipeline calls it, with real servers."""

from __future__ import annotations

import json

import pytest
import yaml
from rollout_shop import open_shop

from components.deploy.component import deploy
from components.deploy.step import run
from serving import processes
from serving.rollout.release import rollouts_of


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    opened = open_shop(tmp_path_factory.mktemp("deploy"), steps=[50, 100])
    yield opened
    processes.stop_all(opened.config.paths)


def step(shop, version, run_id):
    """Deploy a version; return the outcome, the step's record and the artifact's folder."""
    folder = shop.clean.parent / "rollout" / run_id
    told = run(shop.config.to_json(), run_id, str(shop.clean), version, str(folder))
    record = json.loads((shop.config.paths.run(run_id) / "steps" / "deploy.json").read_text())
    assert record["status"] == "succeeded"
    assert record["summary"]["outcome"] == told
    return told, record["summary"], folder


def cut_off(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.fixture(scope="module")
def broken(shop):
    """A signed candidate that can't be loaded, deployed where nothing is served yet."""
    version = shop.register(shop.counts(future=True), "run-0", spoil=cut_off)
    return version, *step(shop, version, "run-0")


@pytest.mark.slow
def test_a_broken_candidate_is_a_verdict_and_no_crash(shop, broken):
    version, told, summary, _ = broken
    assert told == "rolled_back"
    assert summary["candidate"] == version
    assert "can't be served" in summary["reason"]
    assert summary["steps"] == []
    assert summary["champion"] == shop.registry.champion() != version


@pytest.mark.slow
def test_people_get_popularity_meanwhile(shop, broken):
    _, _, summary, _ = broken
    assert len(summary["examples"]) == 3
    titles = [item["title"] for item in summary["examples"][0]["items"]]
    assert len(titles) == 5
    assert all(titles)
    assert {example["model_version"] for example in summary["examples"]} == {summary["champion"]}


@pytest.mark.slow
def test_a_good_candidate_is_promoted_and_everything_is_on_record(shop, broken):
    version = shop.register(shop.counts(future=True), "run-1")
    told, summary, folder = step(shop, version, "run-1")
    assert told == "promoted"
    assert summary["champion"] == version == shop.registry.champion()
    assert [one["percent"] for one in summary["steps"]] == [50, 100]
    first = summary["steps"][0]
    assert first["verdict"] == "promote"
    assert first["reason"]
    for figure in ("users", "errors", "p95_ms", "hit_rate"):
        assert set(first[figure]) == {"stable", "candidate"}
    assert min(first["users"].values()) >= 5
    assert {example["model_version"] for example in summary["examples"]} == {version}

    runtime, service = yaml.safe_load_all((folder / "inference-service.yaml").read_text())
    assert (runtime["kind"], service["kind"]) == ("ServingRuntime", "InferenceService")
    assert service["spec"]["predictor"]["model"]["storageUri"].endswith(version)
    (state,) = (s for s in rollouts_of(shop.config).all() if s.candidate == version)
    assert json.loads((folder / "state.json").read_text()) == json.loads(
        json.dumps(state.to_dict())
    )
    lines = (folder / "records.jsonl").read_text().splitlines()
    assert len(lines) == state.plan.users
    users = {json.loads(line)["user"] for line in lines}
    assert not users & set(shop.log.users)
    page = (folder / "canary.html").read_text()
    assert page == (shop.config.paths.run("run-1") / "canary.html").read_text()
    assert "Promoted" in page

    # And once more: there is nothing to do, and it says so.
    told, summary, folder = step(shop, version, "run-2")
    assert told == "unchanged"
    assert summary["champion"] == version
    assert summary["steps"] == []
    assert not (folder / "state.json").exists()
    assert (folder / "inference-service.yaml").exists()


@pytest.mark.slow
def test_what_is_in_the_way_ends_the_step_with_a_message_and_changes_nothing(shop, broken):
    before = shop.registry.champion()
    with pytest.raises(SystemExit, match=r"deploy: .* holds no version m-ffffffffffff"):
        run(
            shop.config.to_json(),
            "run-9",
            str(shop.clean),
            "m-ffffffffffff",
            str(shop.clean.parent / "none"),
        )
    with pytest.raises(SystemExit, match=r"deploy: /nowhere"):
        run(shop.config.to_json(), "run-8", "/nowhere", before, "/nowhere/either")
    record = json.loads((shop.config.paths.run("run-9") / "steps" / "deploy.json").read_text())
    assert record["status"] == "failed"
    assert shop.registry.champion() == before


def test_the_component_says_what_it_takes_and_gives():
    spec = deploy.component_spec
    assert set(spec.inputs) == {"config", "run_id", "clean", "version"}
    assert {name: output.type for name, output in spec.outputs.items()} == {
        "rollout": "system.Artifact@0.0.1",
        "Output": "String",
    }
