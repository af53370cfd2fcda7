"""Redis killed under load: real KServe process, real router, real Redis; nobody goes unanswered."""

from __future__ import annotations

import threading
import time
from collections import Counter

import httpx
import pytest
import redis_server as redis_program
from shop import register
from tables_by_hand import configuration
from test_history_in_redis import fill

from recommender.registry import Registry
from serving import launch, processes, routes
from serving.routes import Arm, Routes

pytestmark = [pytest.mark.needs_redis, pytest.mark.slow]


def test_redis_killed_under_load_fails_no_request_and_fallbacks_answer(tmp_path, monkeypatch):
    if not redis_program.program():
        pytest.skip("no redis-server program; install Debian's package redis-server")
    with redis_program.running() as redis:
        monkeypatch.setenv("OSTINATO_PROFILE", "production")
        monkeypatch.setenv("OSTINATO_REDIS", redis.connection)
        monkeypatch.setenv("OSTINATO_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
        monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "offline"))
        known = {
            "item_ids": [["i0", "i1"]],
            "actions": [["click", "click"]],
            "times": [[1, 2]],
        }
        fill(redis, known)
        config = configuration(tmp_path / "state", serving={"port": 0})
        version = register(config, tmp_path / "made")
        folder = Registry.of(config.paths).fetch(version)
        try:
            server = launch.model_server(config, folder, version, "shop")
            url = f"{launch.router(config).url}/v1/models/{config.serving.name}:predict"
            file = launch.routes_path(config.paths)
            routes.write(file, Routes(live=(Arm(server.url, version),)))
            told: Counter[tuple[int, str]] = Counter()
            over = threading.Event()

            def ask() -> None:
                body = {"instances": [{"user_id": "u", "k": 3}]}
                with httpx.Client(timeout=30, trust_env=False) as client:
                    while not over.is_set():
                        answer = client.post(url, json=body)
                        one = answer.json()["predictions"][0] if answer.status_code == 200 else {}
                        told[answer.status_code, str(one.get("fallback"))] += 1

            def until(seen: int, what) -> None:
                end = time.monotonic() + 60
                while sum(n for key, n in told.items() if what(key)) < seen:
                    assert time.monotonic() < end, told
                    time.sleep(0.05)

            asking = [threading.Thread(target=ask) for _ in range(4)]
            for thread in asking:
                thread.start()
            try:
                until(40, lambda key: key[1] == "None")
                redis.stop()
                until(40, lambda key: key[1] not in ("None", ""))
                before = sum(told.values())
                redis.start()
                fill(redis, known)
                whole = told[200, "None"]
                until(whole + 20, lambda key: key[1] == "None")
                assert sum(told.values()) > before
            finally:
                over.set()
                for thread in asking:
                    thread.join()
        finally:
            processes.stop_all(config.paths)
    assert {status for status, _ in told} == {200}, told
    print(dict(told))
