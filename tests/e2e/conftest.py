"""Whole runs on a tiny shop, in workspaces whose servers are stopped whatever happens."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from recommender.config.source import SyntheticSource
from recommender.registry import Registry
from recommender.sources.synthetic import generate
from recommender.workspace import Workspace

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Registered:
    """What a registry holds."""

    models: tuple[str, ...]
    champion: str | None


@dataclass
class House:
    """A workspace, its configuration, and the command line at work in it."""

    workspace: Path
    config: Path

    def ostinato(self, *words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words, "--config", str(self.config)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", name, "--config", str(self.config)]

    def free_port(self) -> int:
        return free_port()

    @contextmanager
    def listening(self, *words: str) -> Iterator[None]:
        """Let a command that serves run, from when its port answers."""
        port = int(words[words.index("--port") + 1])
        server = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words, "--config", str(self.config)], cwd=ROOT
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert server.poll() is None, "it ended by itself"
                assert time.monotonic() < deadline, "it doesn't listen"
                time.sleep(0.1)
            yield
        finally:
            server.terminate()
            server.wait(30)

    def run(self, *settings: str) -> subprocess.CompletedProcess[str]:
        return self.ostinato("run", *(word for one in settings for word in ("--set", one)))

    @property
    def last_run(self) -> Path:
        return max((self.workspace / "runs").iterdir())

    def outcome(self) -> dict[str, Any]:
        return json.loads((self.last_run / "outcome.json").read_text())

    def step(self, name: str) -> dict[str, Any]:
        return json.loads((self.last_run / "steps" / f"{name}.json").read_text())

    def registered(self) -> Registered:
        registry = Registry.of(Workspace(self.workspace))
        return Registered(registry.versions(), registry.champion())


SMALL = {
    "actions": {
        "types": ["impression", "click", "purchase"],
        "history": ["click", "purchase"],
        "success": ["click"],
        "exclude_seen": False,
    },
    "model": {"width": 32, "history": 30},
    "training": {"epochs": 4, "patience": 2, "threads": 1},
    "features": {"history_limit": 60, "text": {"threads": 1}},
    "evaluation": {
        "resamples": 500,
        "requests_per_user": 4,
        # So few users can't show that item-to-item co-occurrence is matched within 2 %.
        "gate": {"minimum_users": 200, "must_match": []},
    },
}


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., House]]:
    """Return a function that builds a house around a source; all of them are closed at the end."""
    built: list[House] = []

    def build(source: dict[str, Any], **sections: Any) -> House:
        folder = tmp_path_factory.mktemp("house")
        tree = {
            "name": f"tiny{len(built)}",
            "workspace": str(folder / "state"),
            "source": source,
            "serving": {"port": free_port()},
            **SMALL,
            **sections,
        }
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(tree))
        built.append(House(folder / "state", path))
        return built[-1]

    yield build
    for one in built:
        one.ostinato("stop")


@pytest.fixture(scope="session")
def shop(house: Callable[..., House], s3_environment: str) -> House:
    """A shop small enough for a test, whose log and catalogue lie in a bucket."""
    import boto3

    source = SyntheticSource(users=700, items=120, days=60, sessions_per_user=8)
    tables = generate(source, seed=7)
    events = tables.events.to_pandas().drop(columns=["value", "event_id"])
    items = tables.items.to_pandas().drop(columns="created")
    items["categories"] = items["categories"].str.join("|")
    client = boto3.client("s3")
    client.create_bucket(Bucket="shop")
    for name, table in (("events", events), ("items", items)):
        client.put_object(Bucket="shop", Key=f"{name}.csv", Body=table.to_csv(index=False))
    return house(
        {
            "kind": "mapped",
            "events": {
                "location": "s3://shop/events.csv",
                "columns": {
                    "user": "user_id",
                    "item": "item_id",
                    "time": "time",
                    "surface": "surface",
                    "position": "position",
                    "propensity": "propensity",
                },
                "types": {"column": "event"},
            },
            "items": {
                "location": "s3://shop/items.csv",
                "columns": {
                    "item": "item_id",
                    "title": "title",
                    "text": "text",
                    "categories": "categories",
                    "separator": "|",
                    "brand": "brand",
                    "price": "price",
                },
            },
        }
    )


@pytest.fixture(scope="session")
def first_run(shop: House) -> subprocess.CompletedProcess[str]:
    """The shop's first run, which ends with a champion that is served."""
    told = shop.run()
    assert told.returncode == 0, told.stdout + told.stderr
    return told
