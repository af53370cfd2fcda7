"""A real KServe process: V1 and V2 over HTTP and gRPC, from the real feature store."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from shop import CUT, DAY, KNOWN, START, Shop

from serving import processes
from serving.ports import free_port
from serving.processes import Command, Server

PREDICT = "/v1/models/ostinato:predict"
READY = "/v2/models/ostinato/ready"


def command(shop: Shop, name: str, *more: str) -> Command:
    paths = shop.config.paths
    arguments = [
        *("--model", str(shop.folder), "--version", shop.version),
        *("--workspace", str(paths.root), "--project", "by_hand"),
        *("--read-deadline-s", "5"),
    ]
    return Command(name, "model", "serving.server", [*arguments, *more], READY)


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(shop: Shop, grpc_port: int) -> Iterator[Server]:
    started = processes.start(
        shop.config.paths,
        command(shop, "under-test", "--grpc-port", str(grpc_port)),
        host="127.0.0.1",
    )
    yield started
    processes.stop(shop.config.paths, started)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
        yield client


def predict(client: httpx.Client, **instance: Any) -> dict[str, Any]:
    answer = client.post(PREDICT, json={"instances": [instance]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def ids(prediction: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in prediction["items"]]


def test_a_known_user_is_answered_from_the_history_in_the_store(
    client: httpx.Client, shop: Shop
) -> None:
    told = predict(client, user_id="ann", k=3)
    # i0, i1 and i3 were clicked or bought; the impression of i2 is no history.
    assert ids(told) == ["i2", "i4", "i5"]
    first = {"item_id": "i2", "title": "Thing i2", "score": 5.0, "tasks": None, "values": None}
    assert told["items"][0] == first
    assert told["basis"] == "history"
    assert told["user_id"] == "ann"
    assert told["model_version"] == shop.version
    assert told["fallback"] is None
    # The model reads the last two of three; what was seen before is still not shown again.
    assert told["history"] == 2
    assert told["dropped"] == 0


def test_only_events_strictly_before_the_moment_of_asking_are_read(client: httpx.Client) -> None:
    at = predict(client, user_id="ann", k=7, time=START + DAY)
    assert at["history"] == 1
    assert ids(at) == ["i1", "i2", "i3", "i4", "i5", "i6"]
    after = predict(client, user_id="ann", k=7, time=START + DAY + 1)
    assert after["history"] == 2
    assert "i1" not in ids(after)


def test_items_that_the_model_does_not_know_are_dropped_and_counted(client: httpx.Client) -> None:
    told = predict(client, user_id="bob", k=10)
    assert (told["history"], told["dropped"], told["fallback"]) == (1, 1, None)
    assert ids(told) == ["i0", "i1", "i2", "i3", "i4", "i5"]
    nothing_left = predict(client, user_id="cem", k=2)
    assert (nothing_left["dropped"], nothing_left["fallback"]) == (1, "no_history")


def test_an_unknown_user_gets_an_answer_that_says_so(client: httpx.Client) -> None:
    told = predict(client, user_id="nobody", k=2)
    assert told["fallback"] == "unknown_user"
    assert told["history"] == 0
    assert ids(told) == ["i0", "i1"]


def test_an_explicit_history_takes_the_place_of_the_store(client: httpx.Client) -> None:
    events = [
        {"item_id": "i4", "action": "click", "time": START + 5},
        {"item_id": "i0", "action": "purchase", "time": START, "value": 2.5},
        {"item_id": "i5", "action": "impression", "time": START},
    ]
    told = predict(client, history=events, k=3)
    assert ids(told) == ["i1", "i2", "i3"]
    assert "user_id" not in told
    assert told["history"] == 2
    of_ann = predict(client, user_id="ann", history=[], k=1)
    assert ids(of_ann) == ["i0"]
    assert of_ann["fallback"] == "no_history"


def test_what_is_excluded_is_not_shown_and_k_may_exceed_the_catalogue(
    client: httpx.Client,
) -> None:
    told = predict(client, user_id="nobody", k=1000, exclude=["i0", "i3", "never-heard-of"])
    assert ids(told) == ["i1", "i2", "i4", "i5", "i6"]
    assert ids(predict(client, user_id="nobody", exclude=list(KNOWN))) == []


def test_a_body_without_the_content_type_of_json_is_read_all_the_same(
    client: httpx.Client,
) -> None:
    content = b'{"instances": [{"user_id": "ann", "k": 1}]}'
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        answer = client.post(PREDICT, content=content, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text
        assert ids(answer.json()["predictions"][0]) == ["i2"]
    answer = client.post(PREDICT, content=b"user=ann", headers={"content-type": kind})
    assert answer.status_code == 400
    assert "send JSON" in answer.json()["error"]


def test_several_instances_are_answered_in_order(client: httpx.Client) -> None:
    asked = [{"user_id": "ann", "k": 1}, {"user_id": "nobody", "k": 4}, {"user_id": "bob"}]
    told = client.post(PREDICT, json={"instances": asked}).json()["predictions"]
    assert [one["user_id"] for one in told] == ["ann", "nobody", "bob"]
    assert [len(one["items"]) for one in told] == [1, 4, 6]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [{"user_id": "a", "K": 3}]}, "instances[0].K: unknown key"),
        ({"instances": [{"user_id": "a", "k": 0}]}, "instances[0].k: Input should be greater"),
        ({"instances": [{"user_id": "a", "k": 1001}]}, "(got 1001)"),
        (
            {"instances": [{"user_id": "a", "k": "3"}]},
            "instances[0].k: Input should be a valid int",
        ),
        ({"instances": [{"user_id": "a", "k": True}]}, "instances[0].k"),
        ({"instances": [{"user_id": 7}]}, "instances[0].user_id: Input should be a valid string"),
        ({"instances": [{"user_id": ""}]}, "instances[0].user_id"),
        ({"instances": [{}]}, "instances[0]: user_id or history is needed"),
        ({"instances": [{"user_id": "a"}, {"user_id": "b", "time": -1}]}, "instances[1].time"),
        ({"instances": [{"user_id": "a", "exclude": "i1"}]}, "instances[0].exclude"),
        (
            {"instances": [{"history": [{"item_id": "i"}]}]},
            "instances[0].history[0].action: missing",
        ),
        ({"instances": []}, "instances: List should have at least 1 item"),
        ({"instances": {"user_id": "a"}}, "instances"),
        ({}, "instances: missing"),
        ([1], "send JSON"),
    ],
)
def test_a_wrong_request_is_refused_by_name(client: httpx.Client, body: Any, message: str) -> None:
    answer = client.post(PREDICT, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"instances": [NaN]}'])
def test_what_is_not_json_is_refused(client: httpx.Client, content: bytes) -> None:
    answer = client.post(PREDICT, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text


def test_health_and_metadata_are_those_of_the_protocol(client: httpx.Client) -> None:
    assert client.get("/v2/health/live").status_code == 200
    assert client.get(READY).json() == {"name": "ostinato", "ready": True}
    assert client.get("/v1/models/ostinato").status_code == 200
    assert client.get("/v2/models/another/ready").status_code == 404
    told = client.get("/v2/models/ostinato").json()
    assert "user_id" in [tensor["name"] for tensor in told["inputs"]]
    assert client.get("/metrics").status_code == 200


def test_open_inference_over_http_answers_with_tensors(client: httpx.Client, shop: Shop) -> None:
    tensor = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["ann", "nobody"]}
    body = {"id": "42", "inputs": [tensor], "parameters": {"k": 4, "time": CUT}}
    answer = client.post("/v2/models/ostinato/infer", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    outputs = {output["name"]: output for output in told["outputs"]}
    assert (told["id"], told["model_version"]) == ("42", shop.version)
    assert outputs["item_id"]["shape"] == [2, 4]
    assert outputs["item_id"]["data"] == ["i2", "i3", "i4", "i5", "i0", "i1", "i2", "i3"]
    assert outputs["score"]["datatype"] == "FP32"
    assert outputs["history"]["data"] == [2, 0]
    assert outputs["fallback"]["data"] == ["", "unknown_user"]


def test_a_row_with_fewer_items_is_filled_up(client: httpx.Client) -> None:
    tensor = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["ann", "nobody"]}
    body = {"inputs": [tensor], "parameters": {"k": 7}, "outputs": [{"name": "item_id"}]}
    answer = client.post("/v2/models/ostinato/infer", json=body)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert np.reshape(output["data"], output["shape"]).tolist() == [
        ["i2", "i4", "i5", "i6", "", "", ""],
        list(KNOWN),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "user_id, or history_item_id"),
        ({"parameters": {"kk": 1}}, "['kk'] are unknown"),
        ({"parameters": {"k": 0}}, "greater than or equal to 1"),
        (
            {"inputs": [{"name": "user_id", "datatype": "INT32", "shape": [1], "data": [1]}]},
            "BYTES",
        ),
        (
            {"inputs": [{"name": "user_id", "datatype": "BYTES", "shape": [3], "data": ["a"]}]},
            "user_id",
        ),
    ],
)
def test_wrong_tensors_are_refused_by_name(
    client: httpx.Client, change: dict[str, Any], message: str
) -> None:
    tensor = {"name": "user_id", "datatype": "BYTES", "shape": [1], "data": ["ann"]}
    answer = client.post("/v2/models/ostinato/infer", json={"inputs": [tensor], **change})
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]


def test_open_inference_over_grpc_gives_the_same_answer(
    client: httpx.Client, server: Server, grpc_port: int, shop: Shop
) -> None:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    tensor = InferInput("user_id", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([b"ann", b"bob"], np.object_), binary_data=True)

    async def ask() -> tuple[bool, Any]:
        async with InferenceGRPCClient(f"127.0.0.1:{grpc_port}") as grpc:
            request = InferRequest("ostinato", [tensor], parameters={"k": 4})
            return await grpc.is_model_ready("ostinato"), await grpc.infer(request)

    ready, told = asyncio.run(ask())
    assert ready
    assert told.model_version == shop.version
    items = told.get_output_by_name("item_id").as_numpy()
    over_http = [ids(predict(client, user_id=user, k=4)) for user in ("ann", "bob")]
    assert [[item.decode() for item in row] for row in items] == over_http
    assert told.get_output_by_name("score").as_numpy().dtype == np.float32


def test_a_wrong_request_over_grpc_is_an_invalid_argument(server: Server, grpc_port: int) -> None:
    import grpc
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    tensor = InferInput("user_id", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"ann"], np.object_), binary_data=True)

    async def ask() -> None:
        async with InferenceGRPCClient(f"127.0.0.1:{grpc_port}", retries=0) as client:
            await client.infer(InferRequest("ostinato", [tensor], parameters={"k": 5000}))

    with pytest.raises(grpc.RpcError) as raised:
        asyncio.run(ask())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "less than or equal to 1000" in raised.value.details()


def test_the_log_names_no_user_and_no_request(
    client: httpx.Client, server: Server, shop: Shop
) -> None:
    predict(client, user_id="ann")
    client.post(PREDICT, json={"instances": [{"user_id": "ann", "k": -1}]})
    log = Path(server.log).read_text()
    assert f"model {shop.version} is ready" in log
    assert "ann" not in log
    assert "Traceback" not in log


def test_nothing_listens_beyond_this_machine(server: Server) -> None:
    import psutil

    listening = [
        connection.laddr.ip
        for connection in psutil.Process(server.pid).connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_sigterm_answers_what_is_under_way_and_then_ends(server: Server, shop: Shop) -> None:
    statuses: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        body = {"instances": [{"user_id": "ann"}] * 256}
        with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
            while not ended.is_set():
                try:
                    statuses.append(client.post(PREDICT, json=body).status_code)
                except httpx.ConnectError:
                    return  # no new connections: that is how it should end
                except httpx.RemoteProtocolError:
                    return  # the kept connection was closed between two requests

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    time.sleep(0.5)
    os.kill(server.pid, signal.SIGTERM)
    for thread in asking:
        thread.join(20)
    ended.set()
    assert statuses
    assert set(statuses) == {200}
    processes.stop(shop.config.paths, server)
    assert not server.alive
