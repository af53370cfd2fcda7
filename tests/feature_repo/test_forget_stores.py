"""A person in the production stores: a real Redis, snapshots elsewhere, events on their way."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables_by_hand import configuration

from feature_repo.forget import erase_offline, erase_online, keys_of, scan_online
from feature_repo.online import OnlineFeatures
from feature_repo.profile import read_profile
from feature_repo.stores import open_online
from feature_repo.stream.dead_letters import DeadLetterFile
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from feature_repo.stream.opening import dead_letter_path, open_sink
from pipelines.forget.work import find, forget
from recommender.forgetting.person import Person
from recommender.forgetting.suppression import Suppressions
from recommender.privacy import pseudonyms

pytestmark = pytest.mark.needs_redis
PROJECTS = ("by_hand", "by_hand_rehearsal", "another")
USERS = ["u1", "u10", "u*", "[u1]", "ann", "42", "é\n"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def profiles() -> pa.Table:
    moment = pa.array([NOW] * len(USERS), pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "user_id": USERS,
            "attributes": [f'{{"n": "{row}"}}' for row, _ in enumerate(USERS)],
            "event_timestamp": moment,
            "created": moment,
        }
    )


def sequences() -> pa.Table:
    table = profiles().drop(["attributes"])
    columns = {
        "item_ids": pa.array([["42", "i1"]] * len(USERS), pa.list_(pa.string())),
        "actions": pa.array([["click", "click"]] * len(USERS), pa.list_(pa.string())),
        "times": pa.array([[1, 2]] * len(USERS), pa.list_(pa.int64())),
        "values": pa.array([[0.5, 1.5]] * len(USERS), pa.list_(pa.float32())),
        "event_ids": pa.array([["e1", "e2"]] * len(USERS), pa.list_(pa.string())),
        "arrivals": pa.array([[0, 0]] * len(USERS), pa.list_(pa.int64())),
        "as_of": pa.array([3] * len(USERS), pa.int64()),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


@pytest.fixture
def filled(production, tmp_path):
    """A configuration whose three projects in Redis know every user."""
    config = configuration(tmp_path / "w")
    config.paths.root.mkdir(parents=True)
    for project in PROJECTS:
        store = open_online(config.paths, project)
        store.write("user_profile", "user_id", profiles().to_batches())
        store.write("user_sequence", "user_id", sequences().to_batches())
        store.close()
    return config


def read(config, view: str = "user_sequence"):
    rows = {}
    for project in PROJECTS:
        store = open_online(config.paths, project)
        found = store.rows(view, "user_id", USERS)
        rows |= {(project, user): row for user, row in zip(USERS, found, strict=True)}
        store.close()
    return rows


def somebody(config, user: str) -> Person:
    return Person.of(user, pseudonyms(config.paths.keys), keys_of(user))


@pytest.mark.parametrize("user", USERS)
def test_redis_loses_one_user_in_every_project_and_nobody_else(filled, production, user):
    before, keys = read(filled), production.client().dbsize()
    profile, person = read_profile(), somebody(filled, user)
    assert scan_online(profile, person).traces
    assert erase_online(filled.paths, profile, person)
    after = read(filled)
    for (project, other), row in before.items():
        assert after[project, other] == (None if other == user else row)
    assert scan_online(profile, person).clean
    assert production.client().dbsize() == keys - len(PROJECTS)
    assert not erase_online(filled.paths, profile, person)
    for other in set(USERS) - {user}:
        assert scan_online(profile, somebody(filled, other)).traces, other


def test_redis_loses_what_followers_know_of_one_user_and_nothing_else(filled, production):
    names = pseudonyms(filled.paths.keys)
    # `u1` and `42` follow `ann`; `u10` follows somebody else.
    followed = {"u1": ["ann", "u10"], "42": ["ann"], "u10": ["42"]}
    told = [
        json.dumps({"took": {"i1": 1}, "users": names.of_all(each)}) for each in followed.values()
    ]
    moment = pa.array([NOW] * 3, pa.timestamp("us", "UTC"))
    rows = pa.table(
        {
            "user_id": list(followed),
            "followed": told,
            "event_timestamp": moment,
            "created": moment,
        }
    )
    for project in PROJECTS:
        store = open_online(filled.paths, project)
        store.write("user_social", "user_id", rows.to_batches())
        store.close()
    before = read(filled)
    profile, person = read_profile(), somebody(filled, "ann")
    assert erase_online(filled.paths, profile, person)
    assert scan_online(profile, person).clean
    for project in PROJECTS:
        with OnlineFeatures(filled.paths, project) as store:
            left = {user: store.followed_took(user) for user in followed}
            assert left == {"u1": None, "42": None, "u10": {"i1": 1}}
    assert read(filled) == {at: None if at[1] == "ann" else row for at, row in before.items()}


def test_the_whole_way_in_production_and_a_late_event_does_not_bring_them_back(filled, tmp_path):
    sink = open_sink(filled)
    sink.apply([StreamEvent("e9", user, "i9", "click", 10) for user in ("ann", "u1")])
    DeadLetterFile(dead_letter_path(filled)).flush()
    snapshots = tmp_path / "offline" / "by_hand"
    pq.write_table(profiles(), snapshots / "user_profile.parquet")
    assert len(find(filled, "ann").scan.traces) == 3, "Redis, the snapshot, the landed event"
    told = forget(filled, "ann")
    assert told.proved
    assert told.scan.files["Redis keys"] > 0
    assert {name for name, count in told.removed.items() if count} >= {
        "online store",
        "offline store",
    }
    applied = sink.apply([StreamEvent("e10", user, "i9", "click", 11) for user in ("ann", "u1")])
    assert applied.suppressed == 1
    assert find(filled, "ann").scan.clean
    rows = read(filled)
    assert rows["by_hand", "ann"] is None
    assert rows["by_hand", "u1"]["event_ids"][-2:] == ["e9", "e10"]
    landed = Landing(str(snapshots)).read().events
    assert landed["user_id"].to_pylist() == ["u1", "u1"]
    assert pq.read_table(snapshots / "user_profile.parquet")["user_id"].to_pylist() == [
        user for user in USERS if user != "ann"
    ]


def test_snapshots_on_s3_lose_their_old_versions_too(filled, s3_bucket, monkeypatch):
    client = boto3.client("s3")
    client.put_bucket_versioning(Bucket=s3_bucket, VersioningConfiguration={"Status": "Enabled"})
    monkeypatch.setenv("OSTINATO_OFFLINE", f"s3://{s3_bucket}/offline")
    profile, person = read_profile(), somebody(filled, "ann")
    landing = Landing(profile.offline_location(filled.paths.features, "by_hand"))
    landing.land([StreamEvent(f"e{n}", u, "i", "click", n) for n, u in enumerate(["ann", "u1"])], 1)
    landing.land([StreamEvent("e7", "ann", "i", "click", 7)], 2)
    landing.compact()
    erase_offline(filled.paths, profile, person)
    versions = client.list_object_versions(Bucket=s3_bucket)["Versions"]
    for each in versions:
        data = client.get_object(Bucket=s3_bucket, Key=each["Key"], VersionId=each["VersionId"])
        users = pq.read_table(pa.BufferReader(data["Body"].read()))["user_id"].to_pylist()
        assert "ann" not in users
    assert landing.read().events["user_id"].to_pylist() == ["u1"]


def test_a_list_that_was_made_elsewhere_is_honoured_by_a_sink_that_is_open(filled):
    sink = open_sink(filled)
    event = StreamEvent("e1", "late", "i1", "click", 5)
    Suppressions(filled.paths).add("late")
    assert sink.apply([event]).suppressed == 1
