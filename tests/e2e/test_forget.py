"""A whole run, a person forgotten, the proof, the endpoint, and a run that never saw them.

The tests of this module tell one story and run in order.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from feature_repo.locations import online_db
from feature_repo.wire import encode_key
from recommender.privacy import pseudonyms
from recommender.registry import Registry
from recommender.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
OTHER = "u00011"


@pytest.fixture(scope="module")
def shop(house):
    source = {"kind": "synthetic", "users": 700, "items": 120, "days": 60, "sessions_per_user": 8}
    built = house(source)
    told = built.run()
    assert told.returncode == 0, told.stdout + told.stderr
    return built


@pytest.fixture(scope="module")
def user(shop) -> str:
    """Somebody who is in the summary of the run, hence everywhere else, too."""
    return str(shop.step("deploy")["summary"]["examples"][0]["user_id"])


def asked(shop, user: str) -> dict:
    told = shop.ostinato("recommend", user, "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def online(shop) -> dict[str, set]:
    with sqlite3.connect(online_db(Workspace(shop.workspace))) as store:
        tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: set(store.execute(f'SELECT * FROM "{name}"').fetchall()) for (name,) in tables
        }


def traces(root: Path, *needles: str) -> list[str]:
    """By other means than the command's: pandas, SQLite's own values, plain bytes."""
    found = []
    for path in root.rglob("*"):
        if not path.is_file() or path.name == "suppressed.json":
            continue
        data = path.read_bytes()
        if data.startswith(b"PAR1"):
            data += pd.read_parquet(path).map(repr).to_csv().encode()
        found += [str(path) for needle in needles if needle.encode() in data]
    return found


def test_after_forgetting_no_search_finds_the_person(shop, user, request):
    pseudonym = pseudonyms(Workspace(shop.workspace).keys).of(user)
    assert len(traces(shop.workspace, user, pseudonym)) > 10
    assert asked(shop, user)["history"] > 0
    before = online(shop)
    neighbour = asked(shop, OTHER)
    told = shop.ostinato("forget", user, "--yes", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    assert json.loads(told.stdout)["proved"]
    assert traces(shop.workspace, user, pseudonym) == []
    key = encode_key("user_id", user)
    assert online(shop) == {
        name: {row for row in rows if row[0] != key} for name, rows in before.items()
    }
    assert asked(shop, OTHER) == neighbour


def test_the_endpoint_answers_them_as_a_stranger(shop, user):
    answer, stranger = asked(shop, user), asked(shop, "somebody-new")
    assert (answer["fallback"], answer["history"]) == ("unknown_user", 0)
    assert answer["items"] == stranger["items"]


def test_the_models_are_marked_and_status_says_so(shop):
    registry = Registry.of(Workspace(shop.workspace))
    assert all(registry.retrain_marks(version) for version in registry.versions())
    assert "retrain" in shop.ostinato("status").stdout
    for version in registry.versions():
        registry.fetch(version)


def test_the_next_run_works_and_never_sees_them(shop, user):
    old = shop.step("register")["summary"]["version"]
    told = shop.run()
    assert told.returncode == 0, told.stdout + told.stderr
    assert shop.outcome()["state"] == "SUCCEEDED"
    ingested = shop.step("ingest")["summary"]
    assert ingested["unchanged"], "the version that took the place of the old one"
    assert {"events", "users"} == {
        each["table"] for each in ingested["dropped"] if "forgotten" in each["reason"]
    }
    new = shop.step("register")["summary"]["version"]
    assert new != old
    registry = Registry.of(Workspace(shop.workspace))
    assert not registry.retrain_marks(new)
    assert registry.lineage(new).data_version == ingested["data_version"]
    pseudonym = pseudonyms(Workspace(shop.workspace).keys).of(user)
    assert traces(shop.workspace, user, pseudonym) == []
    assert "nothing of" in shop.ostinato("forget", user, "--verify").stdout
    assert asked(shop, user)["fallback"] == "unknown_user"
