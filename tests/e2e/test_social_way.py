"""A follow graph from the source to the answer, for real, and one of those followed forgotten.

The tests of this module tell one story and run in order.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from recommender.config.source import SyntheticSource
from recommender.privacy import pseudonyms
from recommender.sources.synthetic import generate
from recommender.workspace import Workspace
from serving.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
FRIENDS = ("u00011", "u00012", "u00013")
COLD = "newcomer-1"


@pytest.fixture(scope="module")
def log() -> Any:
    source = SyntheticSource(users=700, items=120, days=60, sessions_per_user=8)
    return generate(source, seed=7)


@pytest.fixture(scope="module")
def shop(house, log, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("raw")
    items = log.items.to_pandas().drop(columns="created")
    items["categories"] = items["categories"].str.join("|")
    events = log.events.to_pandas().drop(columns=["value", "event_id"])
    edges = [(COLD, friend, "2024-01-01") for friend in FRIENDS]
    edges += [(f"u{n:05}", f"u{n + 1:05}", "2024-01-05") for n in range(1, 600)]
    follows = pd.DataFrame(edges, columns=["who", "whom", "day"])
    for name, table in (("events", events), ("items", items), ("follows", follows)):
        table.to_csv(folder / f"{name}.csv", index=False)
    columns = ("surface", "position", "propensity")
    return house(
        {
            "kind": "mapped",
            "events": {
                "location": str(folder / "events.csv"),
                "columns": {"user": "user_id", "item": "item_id", "time": "time"}
                | {name: name for name in columns},
                "types": {"column": "event"},
            },
            "items": {
                "location": str(folder / "items.csv"),
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
            "follows": {
                "location": str(folder / "follows.csv"),
                "user": "who",
                "followed": "whom",
                "since": "day",
            },
        },
        serving={"port": free_port(), "cold_users": "social"},
    )


def asked(shop, user: str) -> dict[str, Any]:
    told = shop.ostinato("recommend", user, "--json")
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


def test_whoever_only_follows_is_answered_by_what_those_took(shop, log):
    told = shop.run()
    assert told.returncode == 0, told.stdout + told.stderr
    assert shop.step("deploy")["summary"]["outcome"] == "promoted"
    assert shop.step("validate")["summary"]["rows_out"]["follows"] == 602
    answer, stranger = asked(shop, COLD), asked(shop, "somebody-new")
    assert (answer["basis"], stranger["basis"]) == ("social", "popular")
    assert (answer["history"], answer["fallback"]) == (0, "unknown_user")
    assert answer["items"] != stranger["items"]
    taken = log.events.to_pandas()
    taken = taken[taken["user_id"].isin(FRIENDS) & (taken["event"] == "click")]
    counts = Counter(taken.drop_duplicates(["user_id", "item_id"])["item_id"])
    # What the most of them took stands above, and popularity orders what is equal.
    numbers = [counts[item["item_id"]] for item in answer["items"]]
    assert numbers[0] == max(counts.values())
    assert min(numbers) > 0


def test_when_one_of_those_is_forgotten_nothing_tells_of_them(shop):
    friend = FRIENDS[0]
    told = shop.ostinato("forget", friend, "--yes", "--json")
    assert told.returncode == 0, told.stdout + told.stderr
    assert json.loads(told.stdout)["proved"]
    # What spoke of them went, and comes back with the next publication, without them.
    assert asked(shop, COLD)["basis"] == "popular"
    pseudonym = pseudonyms(Workspace(shop.workspace).keys).of(friend)
    for path in shop.workspace.rglob("*"):
        if path.is_file() and path.name != "suppressed.json":
            data = path.read_bytes()
            if data.startswith(b"PAR1"):
                data += pd.read_parquet(path).map(repr).to_csv().encode()
            assert friend.encode() not in data, path
            assert pseudonym.encode() not in data, path


def test_the_next_run_leaves_them_out_of_the_graph_and_answers_by_the_others(shop):
    told = shop.run()
    assert told.returncode == 0, told.stdout + told.stderr
    dropped = {each["table"]: each["count"] for each in shop.step("ingest")["summary"]["dropped"]}
    # Both ends: whom they followed, who followed them, and the newcomer.
    assert dropped["follows"] == 3
    assert asked(shop, COLD)["basis"] == "social"
