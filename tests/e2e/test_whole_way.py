"""From raw events to a recommendation that a canary put into production: the command, for real.

KFP's local runner, Great Expectations, Feast, torch, KServe model servers: nothing is replaced.
The tests of this module tell one story and run in order.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from feature_repo.locations import project_name
from feature_repo.online import OnlineFeatures
from pipelines.everybody import write
from recommender.config import load
from serving import launch, processes, routes
from serving.rollout.release import rollouts_of

# A whole run belongs to the first test; a loaded machine takes minutes for it.
pytestmark = pytest.mark.timeout(1200)


def test_the_first_run_ends_with_a_canaried_champion(shop, first_run):
    assert shop.outcome()["state"] == "SUCCEEDED"
    assert shop.step("gate")["summary"]["verdict"] == "pass"
    deployed = shop.step("deploy")["summary"]
    assert deployed["outcome"] == "promoted"
    shares = [step["percent"] for step in deployed["steps"]]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert all(step["verdict"] == "promote" for step in deployed["steps"])
    assert deployed["champion"] == shop.step("register")["summary"]["version"]


def test_the_run_tells_a_person_everything_that_matters(shop, first_run):
    told = first_run.stdout
    for words in ("expectations hold", "NDCG@10", "popularity", "pass", "promoted", "Ask again"):
        assert words in told
    deployed = shop.step("deploy")["summary"]
    assert len(deployed["examples"]) == 3
    for example in deployed["examples"]:
        assert example["items"][0]["title"] in told
    for report in ("validation.html", "evaluation.html", "canary.html"):
        assert (shop.last_run / report).exists()
        assert report in told


def test_what_was_rehearsed_is_over_and_was_written_down_without_a_name(shop, first_run):
    config = load(shop.config)
    servers = processes.running(config.paths)
    assert sorted(server.kind for server in servers) == ["model", "router"]
    assert routes.read(launch.routes_path(config.paths)).rehearsal == ()
    champion = shop.step("deploy")["summary"]["champion"]
    (state,) = (each for each in rollouts_of(config).all() if each.candidate == champion)
    records = rollouts_of(config).journal(state).read()
    assert len(records) == len({record.user for record in records}) == state.plan.users
    assert not any(record.failed for record in records)
    with OnlineFeatures(config.paths, project_name(config, "live")) as features:
        assert not {record.user for record in records} & set(features.users())
    page = (shop.last_run / "canary.html").read_text()
    assert "Promoted" in page
    # One file that asks for nothing, with both arms' hits, errors, latency and memory.
    assert all(word not in page for word in ("http://", "https://", "<script", "src="))
    assert page.count("<polyline") == 2 * 4


def test_the_endpoint_answers_the_command_that_was_printed(shop, first_run):
    user = shop.step("deploy")["summary"]["examples"][0]["user_id"]
    told = shop.ostinato("recommend", user, "--json")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert len(answer["items"]) == 10
    assert answer["model_version"] == shop.step("deploy")["summary"]["champion"]
    assert answer["fallback"] is None
    assert answer["history"] > 0


def test_features_shows_the_history_that_the_endpoint_reads(shop, first_run):
    user = shop.step("deploy")["summary"]["examples"][0]["user_id"]
    told = shop.ostinato("features", "user", user, "--json")
    assert told.returncode == 0, told.stderr
    features = json.loads(told.stdout)
    assert len(features["item_ids"]) == len(features["times"]) > 0
    then = shop.ostinato("features", "user", user, "--as-of", "now", "--json")
    assert json.loads(then.stdout)["item_ids"] == features["item_ids"], then.stderr
    unknown = shop.ostinato("features", "user", "nobody")
    assert unknown.returncode == 1
    assert "nobody" in unknown.stderr


def test_everybody_gets_a_list_as_the_endpoint_would_make_it(shop, first_run, tmp_path):
    told = shop.ostinato("everybody", str(tmp_path / "lists.parquet"), "-k", "5", "--plain-ids")
    assert told.returncode == 0, told.stderr
    lists = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    assert len({row["user_id"] for row in lists}) == len(lists) > 100
    assert all(len(set(row["item_ids"])) == 5 for row in lists)
    write(load(shop.config), tmp_path / "hidden.parquet", 5, plain_ids=False)
    pseudonyms = pq.read_table(tmp_path / "hidden.parquet")["user_id"].to_pylist()
    assert not set(pseudonyms) & {row["user_id"] for row in lists}


def test_status_tells_what_is_served(shop, first_run):
    told = shop.ostinato("status")
    assert told.returncode == 0, told.stderr
    assert shop.step("deploy")["summary"]["champion"] in told.stdout


@pytest.mark.slow
def test_the_same_input_and_seed_give_the_same_model_and_nothing_is_deployed_twice(shop, first_run):
    before = shop.registered()
    version = shop.step("register")["summary"]["version"]
    told = shop.run()
    assert told.returncode == 0, told.stdout + told.stderr
    assert shop.step("ingest")["summary"]["unchanged"] is True
    assert shop.step("register")["summary"]["version"] == version
    assert shop.step("gate")["summary"]["verdict"] != "pass", "identical to the champion"
    after = shop.registered()
    assert after.models == before.models
    assert after.champion == before.champion


@pytest.mark.slow
def test_a_rejected_candidate_is_registered_as_rejected_and_changes_nothing_else(shop, first_run):
    before = shop.registered()
    told = shop.run("evaluation.gate.minimum_gain=0.9", "training.epochs=1")
    assert told.returncode == 0, told.stdout + told.stderr
    assert shop.step("gate")["summary"]["verdict"] == "fail"
    assert not (shop.last_run / "steps" / "deploy.json").exists()
    after = shop.registered()
    assert after.champion == before.champion
    assert len(after.models) == len(before.models) + 1
    assert "nothing was deployed" in told.stdout


@pytest.mark.slow
def test_the_endpoint_comes_back_after_it_was_stopped(shop, first_run):
    champion = shop.registered().champion
    assert shop.ostinato("stop").returncode == 0
    refused = shop.ostinato("recommend", "u00001")
    assert refused.returncode == 1
    assert "serve" in refused.stderr
    assert shop.ostinato("serve").returncode == 0
    answer = json.loads(shop.ostinato("recommend", "u00001", "--json").stdout)
    assert answer["model_version"] == champion


def test_an_event_changes_the_next_recommendation_without_a_run(shop, first_run):
    """Through the very door that is open to the world: CloudEvents over HTTP.

    Comes last: the next run's data would have the event in it.
    """
    import httpx

    from feature_repo.stream.opening import landing_of
    from serving.endpoint import ask

    first = min((shop.workspace / "runs").iterdir())
    deployed = json.loads((first / "steps" / "deploy.json").read_text())["summary"]
    user = deployed["examples"][0]["user_id"]
    before = json.loads(shop.ostinato("recommend", user, "--json").stdout)
    seen = json.loads(shop.ostinato("features", "user", user, "--json").stdout)["item_ids"]
    item = next(each["item_id"] for each in before["items"] if each["item_id"] not in seen)
    config = load(shop.config)
    port = shop.free_port()
    with shop.listening("stream", "http", "--port", str(port)):
        event = {
            "specversion": "1.0",
            "id": "e2e-1",
            "source": "shop",
            "type": "click",
            "time": datetime.now(UTC).isoformat(),
            "data": {"user_id": user, "item_id": item, "event": "click"},
        }
        headers = {"content-type": "application/cloudevents+json"}
        started = time.perf_counter()
        for _ in range(2):  # delivered twice, it counts once
            sent = httpx.post(f"http://127.0.0.1:{port}/events", json=event, headers=headers)
            assert sent.status_code // 100 == 2, sent.text
        after = ask(config, user)
        taken = time.perf_counter() - started
    assert [each["score"] for each in after["items"]] != [each["score"] for each in before["items"]]
    print(f"from event to changed answer: {1000 * taken:.0f} ms")
    known = json.loads(shop.ostinato("features", "user", user, "--json").stdout)
    assert known["item_ids"][-1] == item
    # Whatever is told of this shop afterwards begins with the data it was made of.
    landed = landing_of(config)
    assert landed.read().events["event_id"].to_pylist() == ["e2e-1"]
    assert landed.remove({user}) == 2  # delivered twice
