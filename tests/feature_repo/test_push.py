"""Events pushed through Feast, in Python and over HTTP, reach the sequences and land offline."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest

from feature_repo.choices import Choices
from feature_repo.environment import environment
from feature_repo.sdk import apply, open_store
from feature_repo.stores import open_online
from feature_repo.stream.opening import landing_of
from recommender.errors import FeatureError
from recommender.forgetting.suppression import Suppressions

ROOT = Path(__file__).parents[2]
FEAST = (str(Path(sys.executable).with_name("feast")), "-c", "feature_repo")
PROJECT = "by_hand"
NOW = datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)


@pytest.fixture(
    scope="module", params=["embedded", pytest.param("production", marks=pytest.mark.needs_redis)]
)
def shop(request, make_config, tmp_path_factory):
    """A project whose definitions are applied, in either profile."""
    config = make_config(features={"history_limit": 3, "text": {"threads": 1}})
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "production":
            folder = tmp_path_factory.mktemp("production")
            server = request.getfixturevalue("redis_process")
            server.client().flushall()
            patch.setenv("OSTINATO_PROFILE", "production")
            patch.setenv("OSTINATO_REDIS", server.connection)
            patch.setenv("OSTINATO_REGISTRY", f"sqlite:///{folder}/registry.db")
            patch.setenv("OSTINATO_OFFLINE", str(folder / "offline"))
        store = open_store(config.paths, PROJECT)
        apply(store, config.paths, Choices.of(config))
        yield config, store


def pushed(*events, **columns) -> pd.DataFrame:
    """(event id, user, item, type, seconds after NOW)"""
    frame = pd.DataFrame(
        {
            "event_id": [e[0] for e in events],
            "user_id": [e[1] for e in events],
            "item_id": [e[2] for e in events],
            "event": [e[3] for e in events],
            "time": [NOW + timedelta(seconds=e[4]) for e in events],
            "value": [None] * len(events),
            "surface": [None] * len(events),
            "position": [None] * len(events),
            "propensity": [None] * len(events),
        }
    )
    return frame.assign(**columns)


def row(config, user):
    with closing(open_online(config.paths, PROJECT)) as store:
        return store.rows("user_sequence", "user_id", [user])[0]


def landed(config, user) -> list[str]:
    events = landing_of(config).read().events
    return [e["event_id"] for e in events.to_pylist() if e["user_id"] == user]


def test_a_push_updates_the_sequence_and_lands(shop, read_with_sdk):
    config, store = shop
    frame = pushed(
        ("e2", "anna", "b", "click", 2), ("e1", "anna", "a", "purchase", 1), value=[4.5, None]
    )
    store.push("user_events", frame)
    held = row(config, "anna")
    assert (held["item_ids"], held["actions"]) == (["a", "b"], ["purchase", "click"])
    assert held["times"] == [
        int(NOW.timestamp() * 1000) + 1_000,
        int(NOW.timestamp() * 1000) + 2_000,
    ]
    assert repr(held["values"]) == "[nan, 4.5]"
    assert landed(config, "anna") == ["e1", "e2"]
    (told,) = read_with_sdk(config, PROJECT, "user_sequence", "user_id", ["anna"])
    assert told["event_ids"] == held["event_ids"] == ["e1", "e2"]
    assert told["as_of"] == held["as_of"]

    store.push("user_events", frame)
    assert repr(row(config, "anna")) == repr(held)


@pytest.mark.parametrize("to", ["OFFLINE", "ONLINE_AND_OFFLINE"])
def test_a_push_can_go_offline_too(shop, to):
    from feast.data_source import PushMode

    config, store = shop
    user = f"bert {to}"
    frame = pushed(("x" + to, user, "a", "click", 1), ("y" + to, user, "a", "impression", 2))
    for _ in range(2):
        store.push("user_events", frame, to=PushMode[to])
    assert landed(config, user) == ["x" + to, "y" + to]
    held = row(config, user)
    assert (held and held["event_ids"]) == (None if to == "OFFLINE" else ["x" + to])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"event": ["hover", "click"]}, "row 0 of what was pushed is no event: event is 'hover'"),
        ({"event_id": ["e1", ""]}, "row 1 of what was pushed is no event: event_id is ''"),
        ({"time": [NOW, datetime(2200, 1, 1, tzinfo=UTC)]}, "ahead of this machine's clock"),
    ],
)
def test_of_a_push_with_a_wrong_event_nothing_is_taken(shop, wrong, said):
    from feast.data_source import PushMode

    config, store = shop
    frame = pushed(("e1", "carl", "a", "click", 1), ("e2", "carl", "a", "click", 2), **wrong)
    for to in (PushMode.ONLINE, PushMode.OFFLINE):
        with pytest.raises(FeatureError, match=said):
            store.push("user_events", frame, to=to)
    assert row(config, "carl") is None
    assert landed(config, "carl") == []


def test_forgotten_people_are_not_taken(shop):
    from feast.data_source import PushMode

    config, store = shop
    Suppressions(config.paths).add("dora")
    store.push(
        "user_events", pushed(("e1", "dora", "a", "click", 1)), to=PushMode.ONLINE_AND_OFFLINE
    )
    assert row(config, "dora") is None
    assert landed(config, "dora") == []


def sequence(user, *names, as_of):
    count = len(names)
    moment = NOW + timedelta(seconds=as_of)
    return pd.DataFrame(
        {
            "user_id": [user],
            "item_ids": [["a"] * count],
            "actions": [["click"] * count],
            "times": [[int(NOW.timestamp() * 1000) + n for n in range(count)]],
            "values": [[1.0] * count],
            "event_ids": [list(names)],
            "arrivals": [[0] * count],
            "as_of": [int(moment.timestamp() * 1000)],
            "event_timestamp": [moment],
            "created": [moment],
        }
    )


def test_rows_that_feast_writes_as_a_whole_never_replace_newer_ones(shop):
    config, store = shop
    store.write_to_online_store("user_sequence", sequence("emil", "e1", "e2", as_of=10))
    store.write_to_online_store("user_sequence", sequence("emil", "e1", as_of=5))
    assert row(config, "emil")["event_ids"] == ["e1", "e2"]
    store.push("user_events", pushed(("e3", "emil", "b", "click", 20)))
    store.write_to_online_store("user_sequence", sequence("emil", "e1", as_of=15))
    # What has been streamed since stays on top of the newer row.
    assert row(config, "emil")["event_ids"] == ["e1", "e3"]

    profile = pd.DataFrame({"user_id": ["emil"], "event_timestamp": [NOW], "created": [NOW]})
    store.write_to_online_store("user_profile", profile.assign(attributes='{"n": "2"}'))
    older = profile.assign(event_timestamp=NOW - timedelta(days=1), attributes='{"n": "1"}')
    store.write_to_online_store("user_profile", older)
    with closing(open_online(config.paths, PROJECT)) as online:
        (held,) = online.rows("user_profile", "user_id", ["emil"])
    assert held == {"attributes": '{"n": "2"}'}


def test_historical_queries_see_what_landed(shop):
    _, store = shop
    store.push(
        "user_events", pushed(("e1", "fred", "a", "click", 1), ("e2", "fred", "b", "click", 9))
    )
    asked = pd.DataFrame({"user_id": ["fred"], "event_timestamp": [NOW + timedelta(seconds=5)]})
    told = store.get_historical_features(
        asked, ["user_event:event_id", "user_event:item_id"]
    ).to_df()
    assert told[["event_id", "item_id"]].to_dict("records") == [{"event_id": "e1", "item_id": "a"}]


def test_definitions_without_rules_take_nothing(make_config):
    config = make_config()
    store = open_store(config.paths, PROJECT)
    apply(store, config.paths)
    with pytest.raises(FeatureError, match="does not say what events of this project are like"):
        store.push("user_events", pushed(("e1", "anna", "a", "click", 1)))


@pytest.mark.parametrize(
    "shop",
    ["embedded", pytest.param("production", marks=[pytest.mark.needs_redis, pytest.mark.slow])],
    indirect=True,
)
@pytest.mark.slow
def test_the_feature_server_takes_pushes_and_answers_with_them(shop):
    config, _ = shop
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = config.paths.root / "serve.log"
    with log.open("wb") as said:
        program = subprocess.Popen(
            [*FEAST, "serve", "--port", str(port), "--workers", "1"],
            cwd=ROOT,
            env={**os.environ, **environment(config, "live"), "TZ": "Asia/Shanghai"},
            stdout=said,
            stderr=said,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            deadline = time.monotonic() + 90
            while True:
                assert program.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                try:
                    if client.get("/health").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            columns = pushed(("h1", "gina", "a", "click", 1), ("h2", "gina", "b", "click", 2))
            columns["time"] = [moment.isoformat() for moment in columns["time"]]
            body = {"push_source_name": "user_events", "df": columns.to_dict("list")}
            for to in ("online", "online_and_offline", "offline"):
                answer = client.post("/push", json={**body, "to": to})
                assert answer.status_code == 200, answer.text
            answer = client.post(
                "/get-online-features",
                json={
                    "features": ["user_sequence:event_ids", "user_sequence:times"],
                    "entities": {"user_id": ["gina"]},
                },
            )
            found = {
                name: each["values"][0]
                for name, each in zip(
                    answer.json()["metadata"]["feature_names"],
                    answer.json()["results"],
                    strict=True,
                )
            }
            assert found["event_ids"] == ["h1", "h2"]
            start = int(NOW.timestamp() * 1000)
            assert found["times"] == [start + 1_000, start + 2_000]
            wrong = {**body, "df": {**body["df"], "event": ["click", "hover"]}, "to": "online"}
            answer = client.post("/push", json=wrong)
            assert answer.status_code >= 400
    finally:
        program.terminate()
        program.wait(30)
    assert landed(config, "gina") == ["h1", "h2"]
