"""The loop of a real server: lists out with propensities, clicks in, the next run's events."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import uvicorn
from shop import DAY, KNOWN, Shop
from tables_by_hand import tables

from feature_repo.locations import project_name
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.evaluation.logged import off_policy
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.privacy import VARIABLE, pseudonyms
from recommender.served import joined
from recommender.served_store import store_of
from recommender.sources.shown import shown_events
from recommender.split import Fold
from serving import launch, processes, routes
from serving.ports import free_port
from serving.processes import Server
from serving.routes import REHEARSAL, Arm, Routes

PREDICT = "/v1/models/ostinato:predict"
FEEDBACK = "/v1/feedback"
EPSILON, PLACES = 0.5, 3
PEOPLE = [f"person-{number:03}" for number in range(240)]
CLICK = np.array([0.7, 0.5, 0.35, 0.25, 0.2, 0.1, 0.05])
"""The truth: how likely each item is bought at the first place; lower places get less."""
SEEN = np.array([1.0, 0.6, 0.4])


@pytest.fixture(scope="module")
def stream_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def config(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, stream_port: int
) -> Iterator[Config]:
    """The shop in a workspace of its own, whose log is only written when its server ends."""
    root = tmp_path_factory.mktemp("served")
    for name in ("features", "registry", "keys"):
        shutil.copytree(shop.config.paths.root / name, root / name)
    # The pipeline's key is in the environment, as on a cluster: the servers must go by it, too.
    (root / "keys" / "pseudonym.key").unlink(missing_ok=True)
    tree = shop.config.model_dump(mode="json")
    tree |= {"workspace": str(root)}
    tree["serving"] |= {
        "exploration": {"epsilon": EPSILON, "pool": len(KNOWN)},
        "log": {"rotate_s": 3600.0},
        "feedback": {"stream_url": f"http://127.0.0.1:{stream_port}/events"},
    }
    tree["evaluation"] |= {"confidence": 0.999}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "of-the-installation-and-of-no-file")
        yield (own := Config.model_validate(tree))
        processes.stop_all(own.paths)


def started(config: Config, shop: Shop) -> Server:
    return launch.model_server(config, shop.folder, shop.version, project_name(config, "live"))


@pytest.fixture(scope="module")
def server(config: Config, shop: Shop) -> Server:
    return started(config, shop)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
        yield client


def ask(client: httpx.Client, *instances: dict[str, Any], **headers: str) -> list[dict[str, Any]]:
    body = {"instances": list(instances)}
    answer = client.post(PREDICT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    told: list[dict[str, Any]] = answer.json()["predictions"]
    return told


def ids(told: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in told["items"]]


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    for line in client.get("/metrics").text.splitlines():
        mine = re.match(rf"{name}[ {{]", line)
        if mine and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_lists_are_drawn_now_and_then_unless_nobody_may(client: httpx.Client) -> None:
    answers = ask(client, *[{"user_id": "nobody", "k": 3}] * 60)
    lists = {tuple(ids(told)) for told in answers}
    assert ("i0", "i1", "i2") in lists
    assert len(lists) > 10
    assert all(len(set(one)) == 3 for one in lists)
    for told in answers:
        scores = {item["item_id"]: item["score"] for item in told["items"]}
        assert all(score == 7 - int(item[1:]) for item, score in scores.items())
    still = [
        *ask(client, *[{"user_id": "nobody", "k": 3, "explore": False}] * 20),
        *ask(client, *[{"user_id": "nobody", "k": 3}] * 20, **{"x-ostinato-lane": REHEARSAL}),
    ]
    assert {tuple(ids(told)) for told in still} == {("i0", "i1", "i2")}
    ranked = ask(client, *[{"user_id": "nobody", "candidates": ["i5", "i1"]}] * 20)
    assert {tuple(ids(told)) for told in ranked} == {("i1", "i5")}


def test_figures_carry_status_kind_and_version(client: httpx.Client, shop: Shop) -> None:
    version = {"model_version": shop.version}
    before = metric(client, "ostinato_requests_total", **version, kind="predict", status="invalid")
    assert client.post(PREDICT, json={"instances": [{"k": 3}]}).status_code == 400
    ask(client, {"user_id": "ann"})
    told = {"kind": "predict", **version}
    invalid = metric(client, "ostinato_requests_total", status="invalid", **told)
    assert invalid == before + 1
    assert metric(client, "ostinato_request_errors_total", error="invalid_request", **told) >= 1
    assert metric(client, "ostinato_requests_total", status="ok", **told) >= 1
    assert metric(client, "ostinato_request_seconds_count", status="ok", **told) >= 1
    for stage in ("features", "queue", "model"):
        assert metric(client, "ostinato_stage_seconds_count", stage=stage, **version) >= 1
    assert metric(client, "ostinato_batch_size_count", **version) >= 1
    assert metric(client, "ostinato_answers_total", fallback="unknown_user", **version) >= 1
    assert metric(client, "ostinato_answers_total", fallback="none", **version) >= 1
    assert metric(client, "ostinato_feature_read_age_seconds_count", **version) >= 1
    assert metric(client, "ostinato_model_info", model="ostinato", **version) == 1
    assert metric(client, "ostinato_served_lists_waiting") >= 1


@pytest.mark.slow
def test_feedback_counts_once_also_after_the_server_was_killed(
    config: Config, shop: Shop, server: Server, client: httpx.Client
) -> None:
    (told,) = ask(client, {"user_id": "ann", "k": 1})
    body = {"request_id": told["request_id"], "item_id": ids(told)[0], "action": "click"}
    answer = client.post(FEEDBACK, json=body)
    assert (answer.status_code, answer.json()["counted"]) == (200, 1), answer.text
    elsewhere = launch.model_server(  # the rehearsal's server shares the ledger
        config, shop.folder, shop.version, project_name(config, "rehearsal")
    )
    again = httpx.post(elsewhere.url + FEEDBACK, json=body, trust_env=False)
    assert (again.status_code, again.json()["repeated"]) == (200, 1), again.text
    psutil.Process(elsewhere.pid).send_signal(signal.SIGKILL)
    # By the router, which sends it to any arm.
    routes.write(launch.routes_path(config.paths), Routes(live=(Arm(server.url, shop.version),)))
    door = launch.router(config).url
    through = httpx.post(door + FEEDBACK, json=body | {"action": "purchase"}, trust_env=False)
    assert (through.status_code, through.json()["counted"]) == (200, 1), through.text
    wrong = client.post(FEEDBACK, json=body | {"item_id": "i7"})
    assert (wrong.status_code, wrong.json()["error"]) == (404, "item_id 'i7' was not in that list")
    assert metric(client, "ostinato_feedback_total", outcome="counted") >= 1


def test_feedback_that_names_its_user_changes_the_next_answer(
    config: Config, client: httpx.Client, stream_port: int
) -> None:
    from feature_repo.stream.http_app import make_app
    from feature_repo.stream.metrics import StreamMetrics
    from feature_repo.stream.opening import open_sink
    from feature_repo.stream.working import Worker

    stream = config.features.stream
    app = make_app(Worker(open_sink(config), StreamMetrics("http"), 500), stream, None)
    door = uvicorn.Server(uvicorn.Config(app, port=stream_port, log_level="warning"))
    thread = threading.Thread(target=door.run, daemon=True)
    thread.start()
    while not door.started:
        time.sleep(0.01)
    try:
        (told,) = ask(client, {"user_id": "dan", "k": 3, "explore": False})
        first = ids(told)[0]
        body = {"request_id": told["request_id"], "item_id": first, "action": "purchase"}
        started = time.perf_counter()
        answer = client.post(FEEDBACK, json=body | {"user_id": "dan"})
        assert answer.json() == {"counted": 1, "repeated": 0, "streamed": 1}, answer.text
        (after,) = ask(client, {"user_id": "dan", "k": 3, "explore": False})
        spent = time.perf_counter() - started
    finally:
        door.should_exit = True
        thread.join(10)
    assert first not in ids(after)
    assert after["history"] == told["history"] + 1
    print(f"from feedback to the changed answer: {1000 * spent:.0f} ms")
    # Away, it is kept all the same, and says so.
    (told,) = ask(client, {"user_id": "dan", "k": 1, "explore": False})
    body = {"request_id": told["request_id"], "item_id": ids(told)[0], "action": "click"}
    answer = client.post(FEEDBACK, json=body | {"user_id": "dan"})
    assert answer.json() == {"counted": 1, "repeated": 0, "streamed": 0}


def test_what_another_policy_would_earn_is_read_off_the_log(
    config: Config, shop: Shop, server: Server
) -> None:
    chance = np.random.default_rng(11)
    began = time.time_ns() // 1_000_000
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        for _ in range(3):
            shown = ask(client, *({"user_id": user, "k": PLACES} for user in PEOPLE))
            bought = [
                {"request_id": told["request_id"], "item_id": item, "action": "purchase"}
                for told in shown
                for place, item in enumerate(ids(told))
                if chance.random() < CLICK[int(item[1:])] * SEEN[place]
            ]
            for start in range(0, len(bought), 200):
                answer = client.post(FEEDBACK, json={"feedback": bought[start : start + 200]})
                assert answer.json()["counted"] == len(bought[start : start + 200]), answer.text
    processes.stop(config.paths, server)  # SIGTERM: what waits is written

    log = server_log(config, server)
    assert not re.search(r"\b(ann|dan|nobody|person-\d+)\b", log), "a user id in the log"
    lines = [json.loads(line) for line in log.splitlines()]
    answered = [line for line in lines if line["logger"] == "ostinato.requests"]
    assert pseudonyms(config.paths.keys).of(PEOPLE[0]) in {line["user"] for line in answered}
    assert all(line["request_id"] and line["model_version"] == shop.version for line in answered)

    store = store_of(config.serving.log, config.paths)
    served, feedback = store.read("served"), store.read("feedback")
    live = served.filter([lane == "live" for lane in served["lane"].to_pylist()])
    names = set(pseudonyms(config.paths.keys).of_all(PEOPLE))
    mine = live.filter([user in names for user in live["user"].to_pylist()])
    assert mine.num_rows == 3 * PLACES * len(PEOPLE)
    both = joined(mine, feedback, DAY, ["purchase"])
    greedy = [
        int(item[1:]) == place - 1
        for item, place in zip(
            mine["item_id"].to_pylist(), mine["position"].to_pylist(), strict=True
        )
    ]
    # Propensities against frequencies: of the best item at its own place.
    assert np.mean(greedy) == pytest.approx(1 - EPSILON + EPSILON / 7, abs=0.06)
    assert np.allclose(mine["marginal"].to_numpy(), np.where(greedy, 1 - EPSILON, 0) + EPSILON / 7)
    weights = 1 / mine["marginal"].to_numpy()
    assert weights.mean() == pytest.approx(7, rel=0.15)
    assert both["reward"].to_numpy().sum() > 100

    added = shown_events(config)
    assert added is not None
    company = tables([(user, "i0", "click", began - DAY) for user in PEOPLE], items=KNOWN)
    whole, said = added.add(company)
    assert re.search(r"[\d,]+ items that were shown and [\d,]+ actions", said)
    events = whole.events
    assert events.num_rows == company.events.num_rows + mine.num_rows
    catalogue = Catalogue(KNOWN)
    fold = Fold(began - 2 * DAY, began - 1000, began + DAY)
    dataset = Dataset(
        EventLog.build(events, catalogue, config.actions, exposures=True),
        whole.items,
        np.zeros((len(KNOWN), 2), np.float32),
        (fold,),
        "d-1",
        "none",
    )
    # Another policy than the one that served: it likes what that one likes least.
    liking = np.linspace(0.0, 1.5, len(KNOWN)).astype(np.float32)
    found = off_policy(Popularity(catalogue, liking), 2, dataset, fold, config)
    assert found is not None
    policy = np.exp(liking) / np.exp(liking).sum()
    truth = float((policy @ CLICK) * SEEN.mean())
    earned = float(np.asarray(both["rewarded"].to_pylist()).mean())
    assert truth < 0.75 * earned  # so it is no accident that they agree
    assert found.impressions == mine.num_rows
    for name in ("ips", "snips", "dr"):
        value = found.values[name]
        assert value.low is not None
        assert value.high is not None
        assert value.low <= truth <= value.high, (name, value, truth)
        assert value.high - value.low < truth
    assert found.mean_weight == pytest.approx(1, abs=0.1)


def server_log(config: Config, server: Server) -> str:
    return Path(server.log).read_text(encoding="utf-8")
