"""The endpoint of a data set: started from the registry, asked, looked at, stopped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from shop import CUT, DAY, Shop, register

from recommender.config import Config
from recommender.errors import ArtifactError, ServingError
from recommender.registry import Registry
from serving import endpoint, launch, processes, routes
from serving.processes import Command
from serving.routes import REHEARSAL, Arm


@pytest.fixture(scope="module")
def config(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The shop once more in a workspace of its own, so that its servers are these tests' only."""
    root = tmp_path_factory.mktemp("endpoint")
    for name in ("features", "registry", "keys"):
        shutil.copytree(shop.config.paths.root / name, root / name)
    own = shop.config.model_copy(update={"workspace": str(root)})
    yield own
    processes.stop_all(own.paths)


def test_before_anything_was_promoted_the_way_out_is_said(config: Config) -> None:
    with pytest.raises(ServingError, match=r"nothing is served for by-hand(.|\n)*ostinato run"):
        endpoint.ask(config, "ann")
    with pytest.raises(ServingError, match="no champion yet"):
        endpoint.serve(config)
    told = endpoint.status(config)
    assert told == {"url": None, "lanes": {"live": [], "rehearsal": []}, "servers": []}


def test_the_champion_is_served_from_the_live_features_and_only_once(
    config: Config, shop: Shop
) -> None:
    Registry.of(config.paths).promote(shop.version)
    # Arms of a rollout that died with the machine.
    stale = (Arm("http://127.0.0.1:1", "m-0123456789ab"),)
    routes.write(launch.routes_path(config.paths), routes.Routes(rehearsal=stale))
    url = endpoint.serve(config)
    assert endpoint.serve(config) == url == endpoint.ensure_router(config)
    told = endpoint.status(config)
    assert told["url"] == url
    (arm,) = told["lanes"]["live"]
    assert (arm["version"], arm["ready"]) == (shop.version, True)
    assert told["lanes"]["rehearsal"] == []
    assert sorted(server["kind"] for server in told["servers"]) == ["model", "router"]
    assert {server["project"] for server in told["servers"]} == {"", "by_hand"}
    assert "token" not in str(told)


def test_the_endpoint_answers_a_person_with_titles(config: Config, shop: Shop) -> None:
    answer = endpoint.ask(config, "dan", 3, exclude=["i1"])
    assert [item["title"] for item in answer["items"]] == ["Thing i0", "Thing i2", "Thing i3"]
    assert (answer["model_version"], answer["history"]) == (shop.version, 1)
    anonymous = endpoint.ask(
        config, None, 1, history=[{"item_id": "i0", "action": "click", "time": CUT}], time=CUT + DAY
    )
    assert anonymous["items"][0]["item_id"] == "i1"
    with pytest.raises(ServingError, match=r"refused the request: instances\[0\]\.k"):
        endpoint.ask(config, "ann", 0)
    with pytest.raises(ServingError, match="rehearsal lane is empty"):
        endpoint.ask(config, "ann", lane=REHEARSAL)


def test_a_tampered_version_never_serves_and_leaves_the_endpoint_as_it_was(
    config: Config, shop: Shop, tmp_path: Path
) -> None:
    paths = config.paths
    version = register(config, tmp_path / "made", best=3)
    folder = tmp_path / version
    shutil.copytree(Registry.of(paths).fetch(version), folder)
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-1])
    before = endpoint.status(config)
    with pytest.raises(ServingError, match=r"exit code 1(.|\n)*weights\.safetensors") as raised:
        launch.model_server(config, folder, version, "by_hand_rehearsal")
    assert "Traceback" not in str(raised.value)
    assert endpoint.status(config) == before
    assert endpoint.ask(config, "ann")["model_version"] == shop.version


def test_a_new_champion_takes_over_under_load_without_a_lost_request(
    config: Config, shop: Shop, tmp_path: Path
) -> None:
    url = f"{endpoint.ensure_router(config)}/v1/models/ostinato:predict"
    ended, seen = threading.Event(), []

    def ask(worker: int) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            number = 0
            while not ended.is_set():
                number += 1
                body = {"instances": [{"user_id": f"u{worker}-{number}", "k": 1}]}
                answer = client.post(url, json=body)
                version = answer.json()["predictions"][0]["model_version"]
                seen.append((answer.status_code, version, answer.headers["x-ostinato-version"]))

    registry = Registry.of(config.paths)
    version = register(config, tmp_path / "made", best=4)
    old = next(s for s in processes.running(config.paths) if s.version == shop.version)
    new = launch.model_server(config, registry.fetch(version), version, "by_hand")
    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen) > 50)
        registry.promote(version, over=shop.version)
        file = launch.routes_path(config.paths)
        routes.write(file, routes.read(file).with_lane(routes.LIVE, [Arm(new.url, version)]))
        processes.stop(config.paths, old)
        count = len(seen)
        wait_until(lambda: len(seen) > count + 50)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in seen} == {200}
    assert all(told == header for _, told, header in seen)
    assert {told for _, told, _ in seen} == {shop.version, version}
    assert endpoint.ask(config, "nobody", 1)["items"][0]["item_id"] == "i4"


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came to it"
        time.sleep(0.01)


def test_two_who_start_the_router_at_once_get_the_same_one(config: Config) -> None:
    (before,) = [s for s in processes.running(config.paths) if s.kind == "router"]
    processes.stop(config.paths, before)
    with ThreadPoolExecutor(2) as pool:
        urls = set(pool.map(lambda _: endpoint.ensure_router(config), range(2)))
    assert len(urls) == 1
    assert len([s for s in processes.running(config.paths) if s.kind == "router"]) == 1


def test_another_data_set_on_the_same_port_gets_a_free_one(config: Config, tmp_path: Path) -> None:
    port = int(endpoint.ensure_router(config).rsplit(":", 1)[1])
    serving = config.serving.model_copy(update={"port": port})
    other = config.model_copy(update={"workspace": str(tmp_path / "other"), "serving": serving})
    try:
        url = endpoint.ensure_router(other)
        assert not url.endswith(f":{port}")
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    finally:
        endpoint.stop(other)


def test_when_the_model_server_dies_the_answer_says_how_to_go_on(config: Config) -> None:
    (server,) = [s for s in processes.running(config.paths) if s.kind == "model"]
    processes.stop(config.paths, server)
    with pytest.raises(ServingError, match=r"does not answer(.|\n)*ostinato serve"):
        endpoint.ask(config, "ann")


def test_stop_ends_every_process_and_serve_brings_the_champion_back(config: Config) -> None:
    stopped = endpoint.stop(config)
    assert [server.kind for server in stopped] == ["router"]
    assert processes.running(config.paths) == ()
    with pytest.raises(ServingError, match=r"nothing is served(.|\n)*ostinato serve"):
        endpoint.ask(config, "ann")
    endpoint.serve(config)
    champion = Registry.of(config.paths).champion()
    assert endpoint.ask(config, "ann", 2)["model_version"] == champion
    endpoint.stop(config)


def test_a_tampered_champion_is_not_served(config: Config, tmp_path: Path) -> None:
    champion = Registry.of(config.paths).champion()
    assert champion is not None
    shutil.rmtree(config.paths.cache, ignore_errors=True)
    stored = config.paths.registry / "models" / champion / "model.json"
    whole = stored.read_text()
    stored.write_text(whole.replace("popularity", "transforms"))
    with pytest.raises(ArtifactError, match=r"model\.json"):
        endpoint.serve(config)
    stored.write_text(whole)
    assert processes.running(config.paths) == ()


def test_a_server_left_unready_by_a_killed_starter_is_replaced(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging.py").write_text(
        "import http.server, sys, threading\n"
        "class No(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200 if self.path == '/up' else 503); self.end_headers()\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "http.server.HTTPServer(('127.0.0.1', port), No).serve_forever()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = Command(launch.ROUTER, "router", "hanging", [], "/up")
    left = processes.start(config.paths, command, host="127.0.0.1")
    url = endpoint.ensure_router(config)
    assert not left.alive
    assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    endpoint.stop(config)
