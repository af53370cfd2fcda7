"""A real KServe process with a Transformer: everything that may be asked, by both protocols."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from taste_shop import (
    CATEGORIES,
    DAY,
    HISTORY,
    ITEMS,
    NOW,
    TasteShop,
    add_items,
    open_taste_shop,
    store_of,
    vectors,
)
from typer.testing import CliRunner

from pipelines.cli import app
from serving import launch, processes, routes
from serving.ports import free_port
from serving.processes import Command, Server

PREDICT, EXPLAIN = "/v1/models/ostinato:predict", "/v1/models/ostinato:explain"
REFRESH_S = 0.5
TEA = [item for item in ITEMS if "tea" in CATEGORIES[item]]


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> TasteShop:
    return open_taste_shop(tmp_path_factory.mktemp("taste"))


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(taste: TasteShop, grpc_port: int) -> Iterator[Server]:
    arguments = [
        *("--model", str(taste.folder), "--version", taste.version),
        *("--workspace", str(taste.config.paths.root), "--project", "by_hand"),
        *("--read-deadline-s", "5", "--refresh-s", str(REFRESH_S), "--grpc-port", str(grpc_port)),
    ]
    ready = "/v2/models/ostinato/ready"
    command = Command("taste", "model", "serving.server", arguments, ready)
    started = processes.start(taste.config.paths, command, host="127.0.0.1")
    yield started
    processes.stop_all(taste.config.paths)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20, trust_env=False) as client:
        yield client


def predict(client: httpx.Client, **instance: Any) -> dict[str, Any]:
    answer = client.post(PREDICT, json={"instances": [{"time": NOW + DAY, **instance}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


READ = ["item_id", "text", "action", "time", "order", "request_time", "popularity"]
"""What the model of the shop reads."""


def explained(client: httpx.Client, **instance: Any) -> dict[str, Any]:
    answer = client.post(EXPLAIN, json={"instances": [{"time": NOW + DAY, **instance}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["explanations"][0]


def ids(prediction: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in prediction["items"]]


def test_candidates_are_put_in_order_exactly_as_they_are(client: httpx.Client) -> None:
    asked = ["i09", "never", "i01", "i03", "i06"]
    told = predict(client, user_id="ann", candidates=asked)
    # i01 and i06 are in the history, and are ranked all the same.
    assert sorted(ids(told)) == ["i01", "i03", "i06", "i09"]
    assert told["unknown"] == ["never"]
    scores = [item["score"] for item in told["items"]]
    assert scores == sorted(scores, reverse=True)
    again = predict(client, user_id="ann", candidates=asked[::-1])
    assert ids(again) == ids(told)
    assert ids(predict(client, user_id="ann", candidates=asked, k=2)) == ids(told)[:2]
    # The same order and scores as among all.
    everything = predict(client, user_id="ann", k=12)
    open_to_her = [item for item in ids(everything) if item in asked]
    assert open_to_her == [item for item in ids(told) if item in open_to_her]


def test_candidates_that_nobody_knows_are_an_empty_answer_with_a_reason(
    client: httpx.Client,
) -> None:
    told = predict(client, user_id="ann", candidates=["x", "y"])
    assert (told["items"], told["unknown"]) == ([], ["x", "y"])
    assert told["reason"] == "the model knows none of the candidates"


def test_a_filter_by_categories_lets_only_their_items_through(client: httpx.Client) -> None:
    told = predict(client, user_id="dora", categories=["tea"], k=12)
    assert sorted(ids(told)) == TEA
    both = predict(client, user_id="dora", categories=["tea", "coffee", "none such"], k=12)
    assert sorted(ids(both)) == [item for item in ITEMS if CATEGORIES[item]]
    fewer = predict(client, user_id="dora", categories=["tea"], exclude=["i00"], k=12)
    assert ids(fewer) == [item for item in ids(told) if item != "i00"]
    assert "reason" not in told


def test_a_category_without_items_gives_an_empty_list_and_says_why(client: httpx.Client) -> None:
    told = predict(client, user_id="ann", categories=["cars"])
    assert told["items"] == []
    assert told["reason"] == "no item is in any of the categories ['cars']"
    all_gone = predict(client, user_id="ann", categories=["tea"], exclude=TEA)
    assert "everything in these categories is excluded" in all_gone["reason"]


def test_every_item_comes_with_the_chances_of_each_event_type(client: httpx.Client) -> None:
    told = predict(client, user_id="ann", k=5)
    assert told["basis"] == "history"
    for item in told["items"]:
        assert list(item["tasks"]) == ["click", "purchase"]
        # Who buys has clicked.
        assert 0 < item["tasks"]["purchase"] < item["tasks"]["click"] < 1


def test_a_cold_user_is_answered_by_profile_or_by_what_is_popular(client: httpx.Client) -> None:
    by_profile = predict(client, user_id="dora", k=2)
    assert (by_profile["fallback"], by_profile["basis"]) == ("unknown_user", "profile")
    assert ids(by_profile) == ["i11", "i00"]
    # Nothing is known of people from FR, nor of a stranger.
    for user in ("fred", "stranger"):
        told = predict(client, user_id=user, k=3)
        assert (told["fallback"], told["basis"]) == ("unknown_user", "popular")
        assert ids(told) == ["i00", "i01", "i02"]
    anonymous = predict(client, history=[], k=1)
    assert (anonymous["fallback"], anonymous["basis"]) == ("no_history", "popular")


def test_a_cold_user_who_follows_somebody_is_answered_by_what_those_took(
    client: httpx.Client, grpc_port: int
) -> None:
    told = predict(client, user_id="sam", k=3)
    assert (told["fallback"], told["basis"]) == ("unknown_user", "social")
    assert ids(told) == ["i07", "i04", "i00"]
    # The same by the other protocols.
    body = [{"name": "user_id", "datatype": "BYTES", "shape": [1], "data": ["sam"]}]
    body += [{"name": "k", "datatype": "INT64", "shape": [1], "data": [3]}]
    answer = client.post("/v2/models/ostinato/infer", json={"inputs": body})
    outputs = {each["name"]: each["data"] for each in answer.json()["outputs"]}
    assert (outputs["basis"], outputs["item_id"]) == (["social"], ids(told))
    by_grpc = over_grpc(grpc_port, {"user_id": ("BYTES", ["sam"]), "k": ("INT64", [3])})
    assert by_grpc["basis"].tolist() == ["social"]
    assert by_grpc["item_id"][0].tolist() == ids(told)
    # Of whom `fred` follows the model knows nothing: what is popular is left.
    assert predict(client, user_id="fred", k=1)["basis"] == "popular"
    # The reason given with an explanation, and on the command line, is the same word.
    assert explained(client, user_id="sam", k=1)["basis"] == "social"


def test_no_two_answers_have_the_same_request_id(client: httpx.Client) -> None:
    asked = {"instances": [{"user_id": "ann"}, {"user_id": "ann", "surface": "front page"}]}
    answers = [client.post(PREDICT, json=asked).json()["predictions"] for _ in range(3)]
    assert len({told["request_id"] for both in answers for told in both}) == 6


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ({"candidates": ["a"], "exclude": ["b"]}, "instances[0]: candidates are ranked as they"),
        ({"candidates": ["a"], "categories": ["b"]}, "candidates are ranked as they are"),
        ({"candidates": ["a", "b", "a"]}, "candidates names 'a' twice"),
        ({"candidates": []}, "instances[0].candidates: List should have at least 1"),
        ({"candidates": [f"i{n}" for n in range(1001)]}, "at most 1000"),
        ({"candidates": "i01"}, "instances[0].candidates: Input should be a valid list"),
        ({"candidates": [1]}, "instances[0].candidates[0]: Input should be a valid string"),
        ({"categories": []}, "instances[0].categories: List should have at least 1"),
        ({"categories": [""]}, "instances[0].categories[0]: String should have at least 1"),
        ({"surface": ""}, "instances[0].surface: String should have at least 1"),
        ({"surface": 3}, "instances[0].surface: Input should be a valid string"),
        ({"time": -1}, "instances[0].time: Input should be greater than or equal to 0"),
        ({"category": ["a"]}, "instances[0].category: unknown key"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_place(
    client: httpx.Client, instance: dict[str, Any], message: str
) -> None:
    for url in (PREDICT, EXPLAIN):
        answer = client.post(url, json={"instances": [{"user_id": "ann", **instance}]})
        assert answer.status_code == 400
        assert message in answer.json()["error"]


def test_reasons_add_up_to_the_score_and_name_the_events(client: httpx.Client) -> None:
    told = explained(client, user_id="ann", k=3)
    assert ids(told) == ids(predict(client, user_id="ann", k=3))
    assert told["history"] == 3
    for item in told["items"]:
        assert sorted((e["item_id"], e["action"], e["time"]) for e in item["because"]) == sorted(
            HISTORY
        )
        assert all(e["title"] == f"Thing {e['item_id']}" for e in item["because"])
        history_adds = item["score"] - item["base"]
        assert sum(e["weight"] for e in item["because"]) == pytest.approx(history_adds, abs=1e-6)
        known_adds = item["score"] - item["floor"]
        assert sum(item["parts"].values()) == pytest.approx(known_adds, abs=1e-3)
        assert list(item["parts"]) == READ
        sizes = [abs(e["weight"]) for e in item["because"]]
        assert sizes == sorted(sizes, reverse=True)
        assert set(item["tasks"]) == {"click", "purchase"}


def test_given_candidates_are_explained_and_cold_users_have_no_reasons(
    client: httpx.Client,
) -> None:
    told = explained(client, user_id="ann", candidates=["i09", "i06"])
    assert sorted(ids(told)) == ["i06", "i09"]
    cold = explained(client, user_id="dora", k=1)
    (item,) = cold["items"]
    assert (item["because"], item["parts"], item["base"]) == ([], {}, item["score"])
    assert item["floor"] == item["score"]
    assert cold["basis"] == "profile"


def test_too_much_to_explain_is_refused(client: httpx.Client) -> None:
    answer = client.post(EXPLAIN, json={"instances": [{"user_id": "ann", "k": 51}]})
    assert (answer.status_code, "at most 50 items" in answer.text) == (400, True)
    answer = client.post(EXPLAIN, json={"instances": [{"user_id": "ann"}] * 17})
    assert (answer.status_code, "at most 16" in answer.text) == (400, True)


def tensors() -> dict[str, tuple[str, list[Any]]]:
    """Four requests: ranking, filter, exclusion, and an anonymous visit."""
    pad = [""] * 3
    nothing = [0] * 3
    items, actions, times = (list(column) for column in zip(*HISTORY, strict=True))
    return {
        "user_id": ("BYTES", ["ann", "dora", "ann", ""]),
        "k": ("INT64", [0, 2, 3, 12]),
        "time": ("INT64", [NOW + DAY] * 4),
        "surface": ("BYTES", ["front", "", "", "cart"]),
        "candidates": ("BYTES", [["i09", "never"], ["", ""], ["", ""], ["", ""]]),
        "categories": ("BYTES", [[""], ["tea"], [""], [""]]),
        "exclude": ("BYTES", [[""], [""], ["i00"], ["i11"]]),
        "history_item_id": ("BYTES", [pad, pad, pad, items]),
        "history_action": ("BYTES", [pad, pad, pad, actions]),
        "history_time": ("INT64", [nothing, nothing, nothing, times]),
    }


def instances() -> list[dict[str, Any]]:
    """The same in the words of V1."""
    history = [{"item_id": i, "action": a, "time": t} for i, a, t in HISTORY]
    asked = [
        {"user_id": "ann", "candidates": ["i09", "never"], "surface": "front"},
        {"user_id": "dora", "k": 2, "categories": ["tea"]},
        {"user_id": "ann", "k": 3, "exclude": ["i00"]},
        {"history": history, "k": 12, "exclude": ["i11"], "surface": "cart"},
    ]
    return [{"time": NOW + DAY, **each} for each in asked]


def shape(values: list[Any]) -> list[int]:
    return list(np.shape(np.array(values, object)))


def flat(values: list[Any]) -> list[Any]:
    return np.array(values, object).ravel().tolist()


def must_agree(outputs: dict[str, np.ndarray], predictions: list[dict[str, Any]]) -> None:
    for row, told in enumerate(predictions):
        count = len(told["items"])
        assert outputs["item_id"][row].tolist()[:count] == ids(told)
        assert not any(outputs["item_id"][row][count:])
        scores = [item["score"] for item in told["items"]]
        np.testing.assert_allclose(outputs["score"][row, :count], scores, rtol=1e-4)
        chances = [item["tasks"]["purchase"] for item in told["items"]]
        np.testing.assert_allclose(outputs["task_purchase"][row, :count], chances, rtol=1e-4)
        for name in ("history", "dropped"):
            assert outputs[name][row] == told[name]
        assert (outputs["fallback"][row] or None) == told["fallback"]
        assert outputs["basis"][row] == told["basis"]
    assert outputs["unknown"].tolist() == [["never"], [""], [""], [""]]
    assert len(set(outputs["request_id"].tolist())) == len(predictions)


def test_open_inference_over_http_carries_all_of_it(client: httpx.Client) -> None:
    inputs = [
        {"name": name, "datatype": kind, "shape": shape(values), "data": flat(values)}
        for name, (kind, values) in tensors().items()
    ]
    answer = client.post("/v2/models/ostinato/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    outputs = {
        each["name"]: np.array(
            each["data"], object if each["datatype"] == "BYTES" else float
        ).reshape(each["shape"])
        for each in answer.json()["outputs"]
    }
    told = client.post(PREDICT, json={"instances": instances()}).json()["predictions"]
    must_agree(outputs, told)
    described = client.get("/v2/models/ostinato").json()
    assert {each["name"] for each in described["outputs"]} == set(outputs)
    assert set(tensors()) <= {each["name"] for each in described["inputs"]}


def test_open_inference_over_grpc_carries_all_of_it(
    client: httpx.Client, server: Server, grpc_port: int
) -> None:
    outputs = over_grpc(grpc_port, tensors())
    must_agree(outputs, client.post(PREDICT, json={"instances": instances()}).json()["predictions"])


def over_grpc(grpc_port: int, given: dict[str, tuple[str, list[Any]]]) -> dict[str, np.ndarray]:
    """Ask with tensors; return those of the answer, texts as texts."""
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    inputs = []
    for name, (kind, values) in given.items():
        tensor = InferInput(name, shape(values), kind)
        if kind == "BYTES":
            array = np.array([text.encode() for text in flat(values)], np.object_)
        else:
            array = np.array(flat(values), np.int64)
        tensor.set_data_from_numpy(array.reshape(shape(values)), binary_data=True)
        inputs.append(tensor)

    async def ask() -> Any:
        async with InferenceGRPCClient(f"127.0.0.1:{grpc_port}") as grpc:
            return await grpc.infer(InferRequest("ostinato", inputs))

    told = asyncio.run(ask())
    outputs = {}
    for each in told.outputs:
        array = each.as_numpy()
        texts = array.dtype == np.object_
        outputs[each.name] = np.vectorize(bytes.decode, [object])(array) if texts else array
    return outputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": ("BYTES", [["a"]] * 3)}, "differ in their first dimension"),
        ({"candidates": ("BYTES", ["a"] * 4)}, "candidates: a BYTES tensor of shape [B, N]"),
        ({"k": ("FP32", [1.0] * 4)}, "k: a INT64 tensor of shape [B]"),
        ({"cadidates": ("BYTES", [["a"]] * 4)}, "inputs: cadidates is unknown"),
        ({"exclude": ("BYTES", [["i01"]] * 4)}, "instances[0]: candidates are ranked as they are"),
        ({"history_action": None}, "history_item_id goes with history_action"),
        ({"history_action": ("BYTES", [["click"]] * 4)}, "differ in width"),
    ],
)
def test_wrong_tensors_are_refused_with_the_name(
    client: httpx.Client, change: dict[str, Any], message: str
) -> None:
    given = {name: each for name, each in (tensors() | change).items() if each is not None}
    inputs = [
        {"name": name, "datatype": kind, "shape": shape(values), "data": flat(values)}
        for name, (kind, values) in given.items()
    ]
    answer = client.post("/v2/models/ostinato/infer", json={"inputs": inputs})
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]


@pytest.fixture(scope="module")
def command_line(taste: TasteShop, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The command `ostinato recommend`, asking through the router."""
    config = taste.config.model_copy(
        update={"serving": taste.config.serving.model_copy(update={"port": 0})}
    )
    file = tmp_path_factory.mktemp("config") / "shop.yaml"
    file.write_text(config.to_json())  # JSON is YAML
    arms = (routes.Arm(server.url, taste.version),)
    routes.write(launch.routes_path(config.paths), routes.Routes(live=arms))
    launch.router(config)

    def run(*words: str) -> str:
        told = CliRunner().invoke(app, ["recommend", *words, "-c", str(file)])
        assert told.exit_code == 0, told.output
        return told.output

    return run


def test_the_command_line_tells_chances_and_reasons(command_line: Any) -> None:
    told = command_line("ann", "-k", "2", "--explain")
    lines = told.splitlines()
    assert "from 3 events of history" in lines[0]
    assert "Thing i" in lines[1]
    assert "purchase" in lines[1]
    assert sum(" click Thing i" in line or " purchase Thing i" in line for line in lines) == 6
    assert told.count(" without history") == 2
    knowing = [each.split("\n  2. ")[0] for each in told.split(" knowing nothing; ")[1:]]
    assert len(knowing) == 2
    for each in knowing:
        named = dict(part.split() for part in each.split(","))
        assert sorted(named) == sorted(READ)
        sizes = [abs(float(weight)) for weight in named.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_the_command_line_ranks_candidates_and_filters_by_category(command_line: Any) -> None:
    told = command_line("dora", "--candidates", "i03", "--candidates", "i08", "--candidates", "x")
    assert "fallback: unknown_user, ranked by profile" in told
    assert told.index("Thing i03") < told.index("Thing i08")
    assert "not known to the model: x" in told
    assert "no item is in any of the categories ['cars']" in command_line(
        "ann", "--category", "cars"
    )
    answer = json.loads(command_line("ann", "--category", "tea", "--json"))
    assert set(ids(answer)) <= set(TEA)


def test_an_item_that_came_later_is_found_by_its_text_within_one_refresh(
    client: httpx.Client, taste: TasteShop
) -> None:
    asked = {"user_id": "ann", "candidates": ["new", "i09"]}
    assert predict(client, **asked)["unknown"] == ["new"]
    add_items(store_of(taste.config), ["new"], vectors(1, seed=9), [("shop", "tea")])
    started = time.monotonic()
    while predict(client, **asked)["unknown"]:
        assert time.monotonic() - started < REFRESH_S + 10, "the new item never came"
        time.sleep(0.05)
    told = predict(client, user_id="ann", k=13)
    assert "new" in ids(told)
    (mine,) = (item for item in told["items"] if item["item_id"] == "new")
    assert mine["title"] == "Thing new"
    assert "new" in ids(predict(client, user_id="dora", categories=["tea"], k=13))
    # It is read as a past event, too.
    seen = [{"item_id": "new", "action": "click", "time": NOW}]
    assert predict(client, history=seen)["history"] == 1
    # And what was known before is ranked as before.
    assert told["model_version"] == taste.version
