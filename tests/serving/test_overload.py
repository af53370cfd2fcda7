"""A real server that is asked for more than it can do, over HTTP and gRPC at once."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest
from tables_by_hand import configuration
from taste_shop import DAY, HISTORY, NOW, PROJECT, fill, store_of

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.config.compute import ComputeConfig
from recommender.features.sequences import Catalogue
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.split import Fold
from serving import processes
from serving.ports import free_port
from serving.processes import Command, Server

PREDICT, EXPLAIN = "/v1/models/ostinato:predict", "/v1/models/ostinato:explain"
ASKS = 64
CLIENTS = 6
LONGEST_S = 120.0
"""What hangs for so long hangs for good."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    made = configuration(tmp_path_factory.mktemp("busy"))
    fill(store_of(made))
    return made


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(config: Config, grpc_port: int, tmp_path_factory: pytest.TempPathFactory):
    """A model with so many items that a request takes far longer to compute than to send."""
    ids = tuple(f"i{number:06}" for number in range(60_000))
    counts = np.arange(len(ids), 0, -1).astype(np.float32)
    made: Path = tmp_path_factory.mktemp("model") / "made"
    Model(Popularity(Catalogue(ids), counts), ids, config.actions, 8).save(made)
    fold = Fold(NOW - 9 * DAY, NOW, NOW + DAY)
    lineage = Lineage("run-1", "d-1", config.fingerprint(), {}, "src-0", (fold,))
    registry = Registry.of(config.paths)
    version = registry.register(made, lineage, Decision("run-1", Status.PASSED))
    limits = ComputeConfig(queue=2 * ASKS, explanations=1)
    arguments = [
        *("--model", str(registry.fetch(version)), "--version", version),
        *("--workspace", str(config.paths.root), "--project", PROJECT),
        *("--read-deadline-s", "30", "--refresh-s", "3600", "--grpc-port", str(grpc_port)),
        *("--compute", limits.model_dump_json()),
    ]
    command = Command("busy", "model", "serving.server", arguments, "/v2/models/ostinato/ready")
    yield processes.start(config.paths, command, host="127.0.0.1")
    processes.stop_all(config.paths)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=LONGEST_S, trust_env=False) as client:
        yield client


def refused(client: httpx.Client, kind: str) -> int:
    pattern = r"ostinato_request_errors_total{([^}]*)} ([0-9.]+)"
    found = re.findall(pattern, client.get("/metrics").text)
    wanted = ('error="overloaded"', f'kind="{kind}"')
    return sum(int(float(n)) for labels, n in found if all(each in labels for each in wanted))


def together(asks: list[Any]) -> None:
    threads = [threading.Thread(target=ask) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * LONGEST_S)
    assert not any(thread.is_alive() for thread in threads)


def test_what_is_too_much_is_refused_by_both_protocols_and_nothing_hangs(
    client: httpx.Client, server: Server, grpc_port: int
) -> None:
    told: Counter[tuple[str, str]] = Counter()
    # Until both protocols have refused and answered: how often depends on the machine.
    wanted = {("http", "200"), ("http", "503"), ("grpc", "OK"), ("grpc", "RESOURCE_EXHAUSTED")}
    end = time.monotonic() + LONGEST_S
    enough = threading.Event()
    errors: list[str] = []

    def note(protocol: str, status: str) -> None:
        told[protocol, status] += 1
        if wanted <= told.keys() or time.monotonic() > end:
            enough.set()

    def over_http() -> None:
        body = {"instances": [{"user_id": "ann", "k": 5}] * ASKS}
        with httpx.Client(base_url=server.url, timeout=LONGEST_S, trust_env=False) as own:
            while not enough.is_set():
                answer = own.post(PREDICT, json=body)
                note("http", str(answer.status_code))
                if answer.status_code == 503:
                    errors.append(answer.json()["error"])

    def over_grpc() -> None:
        tensor = InferInput("user_id", [ASKS], "BYTES")
        tensor.set_data_from_numpy(np.array([b"ann"] * ASKS, np.object_), binary_data=True)

        async def ask() -> None:
            # Without its own repetitions: what is told shall be seen.
            async with InferenceGRPCClient(f"127.0.0.1:{grpc_port}", retries=0) as own:
                while not enough.is_set():
                    request = InferRequest("ostinato", [tensor], parameters={"k": 5})
                    try:
                        await own.infer(request, timeout=LONGEST_S)
                    except grpc.RpcError as error:
                        note("grpc", error.code().name)
                        errors.append(error.details())
                    else:
                        note("grpc", "OK")

        asyncio.run(ask())

    alive: list[int] = []

    def probing() -> None:
        with httpx.Client(base_url=server.url, timeout=LONGEST_S, trust_env=False) as own:
            while not enough.is_set():
                alive.append(own.get("/v2/health/live").status_code)

    before = refused(client, "predict")
    together([*[over_http] * CLIENTS, *[over_grpc] * CLIENTS, probing])
    assert told.keys() == wanted, told
    assert set(alive) == {200}
    assert all("asks wait already" in error for error in errors)
    count = told["http", "503"] + told["grpc", "RESOURCE_EXHAUSTED"]
    assert refused(client, "predict") - before == count
    # And afterwards everything is as it was.
    answer = client.post(PREDICT, json={"instances": [{"user_id": "ann", "k": 2}]})
    assert answer.status_code == 200, answer.text
    # The store is read, too: her history, of which this model knows nothing.
    assert answer.json()["predictions"][0]["dropped"] == len(HISTORY)
    assert "Traceback" not in Path(server.log).read_text()


def test_explanations_wait_in_a_line_of_their_own_that_ends_somewhere(
    client: httpx.Client, server: Server
) -> None:
    statuses: Counter[int] = Counter()

    def ask() -> None:
        body = {"instances": [{"user_id": "ann", "k": 5}] * 8}
        with httpx.Client(base_url=server.url, timeout=LONGEST_S, trust_env=False) as own:
            for _ in range(20):
                statuses[own.post(EXPLAIN, json=body).status_code] += 1
                if {200, 503} <= statuses.keys():
                    return

    before = refused(client, "explain")
    together([ask] * CLIENTS)
    assert statuses.keys() == {200, 503}
    assert refused(client, "explain") - before == statuses[503]
    answer = client.post(EXPLAIN, json={"instances": [{"user_id": "ann", "k": 1}]})
    assert answer.status_code == 200, answer.text
