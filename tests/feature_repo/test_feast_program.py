"""The `feast` program works in the repository as its users know it (embedded profile)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from snapshots_by_hand import write_offline

from feature_repo.choices import Choices
from feature_repo.definitions import definitions
from feature_repo.environment import environment, main
from feature_repo.locations import project_name
from feature_repo.online import OnlineFeatures
from feature_repo.profile import read_profile
from feature_repo.sdk import open_store
from recommender.artifact import Model

ROOT = Path(__file__).parents[2]
EVENTS = [("u1", "a", "click", 1_000), ("u1", "b", "purchase", 2_457), ("u2", "b", "click", 9_000)]
COMMANDS = """
import json, sys
from feast.cli.cli import cli
for words in json.loads(sys.argv[1]):
    cli(["-c", sys.argv[2], *words], standalone_mode=False)
"""


def words(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("feast")), "-c", "feature_repo", *arguments]


def variables(config) -> dict[str, str]:
    # A time zone that is not UTC: neither the choice of rows nor their content may depend on it.
    return {**os.environ, **environment(config, "live"), "TZ": "Asia/Shanghai"}


def feast(config, *arguments: str) -> str:
    ran = subprocess.run(
        words(*arguments),
        cwd=ROOT,
        env=variables(config),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def one_after_another(config, *commands: list[str]) -> None:
    """Run the program's commands in one process: most of a command's time goes into its imports."""
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands), str(ROOT / "feature_repo")],
        cwd=ROOT,
        env=variables(config),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def materialized(make_config):
    """A workspace with snapshots and nothing else, applied and materialized by `feast`."""
    config = make_config()
    write_offline(config, read_profile(), EVENTS, 5_000)
    before = sorted(path.name for path in (ROOT / "feature_repo").iterdir())
    one_after_another(config, ["apply"], ["materialize-incremental", "2030-01-01T00:00:00"])
    after = sorted(path.name for path in (ROOT / "feature_repo").iterdir())
    assert after == before, "nothing is written beside the definitions"
    return config


def test_apply_registers_every_definition(materialized):
    project = project_name(materialized, "live")
    store = open_store(materialized.paths, project, read_only=True)
    found = [
        *store.list_entities(),
        *store.list_feature_views(),
        *store.list_on_demand_feature_views(),
        *store.list_feature_services(),
        store.get_project(project),
    ]
    assert {each.name for each in found} == set(definitions(project, "/", Choices()))


def test_materialize_incremental_brings_what_was_published_offline(materialized, read_with_sdk):
    project = project_name(materialized, "live")
    with OnlineFeatures(materialized.paths, project) as online:
        history = online.user_history("u1")
        assert (history.item_ids, history.times) == (("a", "b"), (1_000, 2_457))
        assert history.as_of_ms == 5_000
        assert online.user_history("u2") is None
        assert online.item_text("a").title == "thing a"
    (row,) = read_with_sdk(materialized, project, "user_sequence", "user_id", ["u1"])
    assert row["item_ids"] == ["a", "b"]


@pytest.mark.slow
def test_serve_answers_what_a_model_names(materialized):
    service = Model.__dataclass_fields__["feature_service"].default
    with started(materialized, "serve") as client:
        answer = client.post(
            "/get-online-features",
            json={"feature_service": service, "entities": {"user_id": ["u1", "u2"]}},
        )
        assert answer.status_code == 200, answer.text
        names = answer.json()["metadata"]["feature_names"]
        items = answer.json()["results"][names.index("item_ids")]
        assert items["values"] == [["a", "b"], None]
        answer = client.post(
            "/get-online-features",
            json={
                "feature_service": "unified_v1_context",
                "entities": {"user_id": ["u1"], "item_id": ["a"], "now_ms": [86_400_000 + 2_457]},
            },
        )
        assert answer.status_code == 200, answer.text
        names = answer.json()["metadata"]["feature_names"]
        days = answer.json()["results"][names.index("days_since_last_event")]
        assert days["values"] == [1.0]


@pytest.mark.slow
def test_lists_and_the_web_page(materialized):
    said = feast(materialized, "feature-services", "list")
    assert all(name in said for name in ("unified_v1", "unified_v1_items", "unified_v1_context"))
    said = feast(materialized, "feature-views", "list")
    assert all(name in said for name in ("user_sequence", "user_activity", "item_trend"))
    said = feast(materialized, "on-demand-feature-views", "list")
    assert "user_recency" in said
    with started(materialized, "ui") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "<html" in page.text
        listed = client.get("/projects-list.json").json()["projects"]
        assert [each["id"] for each in listed] == [project_name(materialized, "live")]


@contextmanager
def started(config, *arguments: str) -> Iterator[httpx.Client]:
    """A server of the program, and a client once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = config.paths.root / f"{arguments[0]}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            words(*arguments, "--host", "127.0.0.1", "--port", str(port)),
            cwd=ROOT,
            env=variables(config),
            stdout=said,
            stderr=said,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 90
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def test_the_environment_is_printed_for_a_shell(tmp_path, capsys):
    path = tmp_path / "my shop.yaml"
    path.write_text(
        f"name: my-shop\nworkspace: {tmp_path}/it's here\nsource: {{kind: synthetic}}\n"
        "actions: {types: [buy]}\nfeatures: {activity: {windows_days: [2, 14]}}\n"
    )
    assert main([str(path), "rehearsal"]) == 0
    printed = capsys.readouterr().out
    names = "$OSTINATO_FEAST_PROJECT|$OSTINATO_FEATURES|$OSTINATO_PROFILE|"
    names += "$OSTINATO_ACTIVITY_WINDOWS|$FEAST_FS_YAML_FILE_PATH"
    shell = f'{printed}\necho "{names}"'
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    yaml = ROOT / "feature_repo" / "feature_store.yaml"
    assert said == f"my_shop_rehearsal|{tmp_path}/it's here/features|embedded|2,14|{yaml}\n"


def test_of_the_production_profile_no_secret_is_printed(tmp_path, capsys, monkeypatch):
    path = tmp_path / "shop.yaml"
    path.write_text("name: shop\nsource: {kind: synthetic}\nactions: {types: [buy]}\n")
    monkeypatch.setenv("OSTINATO_PROFILE", "production")
    monkeypatch.setenv("OSTINATO_REDIS", "redis:6379,password=hush")
    assert main([str(path)]) == 1
    assert "OSTINATO_REGISTRY is not set" in capsys.readouterr().err
    monkeypatch.setenv("OSTINATO_REGISTRY", "postgresql://u:hush@db/x")
    monkeypatch.setenv("OSTINATO_OFFLINE", "s3://bucket")
    assert main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "production.yaml" in printed
    assert "hush" not in printed


@pytest.mark.parametrize("arguments", [[], ["a", "sideways"], ["a", "live", "more"]])
def test_wrong_arguments_get_the_usage(arguments, capsys):
    assert main(arguments) == 2
    assert "Usage: " in capsys.readouterr().err


def test_a_wrong_configuration_is_said_on_the_error_stream(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml")]) == 1
    told = capsys.readouterr()
    assert (told.out, "does not exist" in told.err) == ("", True)
