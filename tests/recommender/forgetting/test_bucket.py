"""A person in a versioned bucket: nobody can get at them any more, not even by old versions."""

from __future__ import annotations

import io
import json
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forget_people import NAMES, person
from tables_by_hand import configuration

from recommender.errors import StorageError
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import TextVectors
from recommender.forgetting import bucket, canonical
from recommender.sources.content import data_version
from recommender.sources.versions import ingest, intact
from recommender.storage import open_store
from recommender.tables import Tables

NO_DATA = Path("no-data-here")
USER = "u00002"
ME = person(USER)
SYNTHETIC = {"kind": "synthetic", "users": 8, "items": 10, "days": 10, "sessions_per_user": 2}


@pytest.fixture
def versioned(s3_bucket):
    boto3.client("s3").put_bucket_versioning(
        Bucket=s3_bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return s3_bucket


def everything(name: str) -> dict[tuple[str, str], bytes]:
    """Every version of every object, as S3 tells it."""
    client = boto3.client("s3")
    found = client.list_object_versions(Bucket=name).get("Versions", [])
    return {
        (each["Key"], each["VersionId"]): client.get_object(
            Bucket=name, Key=each["Key"], VersionId=each["VersionId"]
        )["Body"].read()
        for each in found
    }


def markers(name: str) -> list[str]:
    found = boto3.client("s3").list_object_versions(Bucket=name)
    return [each["Key"] for each in found.get("DeleteMarkers", [])]


def names_them(data: bytes) -> bool:
    if data.startswith(b"PAR1"):
        data = repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    return USER.encode() in data or ME.pseudonym.encode() in data


def parquet(*users: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"user_id": users, "n": list(range(len(users)))}), sink)
    return sink.getvalue()


def test_old_versions_and_markers_of_whoever_held_them_go(versioned, tmp_path):
    store = open_store(f"s3://{versioned}/offline")
    store.write_bytes("a/now.parquet", parquet("u1", USER, "u10"))
    store.write_bytes("a/then.parquet", parquet(USER))
    store.write_bytes("a/then.parquet", parquet("u1"))
    store.write_bytes("a/deleted.parquet", parquet(USER))
    store.delete("a/deleted.parquet")
    store.write_bytes("a/back.json", json.dumps([{"user": ME.pseudonym}]).encode())
    store.delete("a/back.json")
    store.write_bytes("a/back.json", b"[]")
    store.write_bytes("a/other.parquet", parquet("u1"))
    store.write_bytes("a/other.parquet", parquet("u2"))
    store.write_bytes("a/other2.parquet", parquet("u3"))
    store.delete("a/other2.parquet")
    assert sum(map(names_them, everything(versioned).values())) == 4
    assert len(bucket.scan(store, ME, tmp_path).traces) == 4
    bucket.erase(store, ME, NO_DATA, tmp_path)
    left = everything(versioned)
    assert not any(map(names_them, left.values()))
    counts = dict.fromkeys((key for key, _ in left), 0)
    for key, _ in left:
        counts[key] += 1
    assert counts == {
        "offline/a/now.parquet": 1,
        "offline/a/then.parquet": 1,
        "offline/a/back.json": 1,
        "offline/a/other.parquet": 2,
        "offline/a/other2.parquet": 1,
    }, "the histories of others stay"
    assert markers(versioned) == ["offline/a/other2.parquet"]
    kept = pq.read_table(io.BytesIO(store.read_bytes("a/now.parquet")))
    assert kept["user_id"].to_pylist() == ["u1", "u10"]
    assert bucket.scan(store, ME, tmp_path).clean
    assert not bucket.erase(store, ME, NO_DATA, tmp_path)
    assert list(tmp_path.iterdir()) == [], "no copy stays here"


def test_data_versions_in_a_bucket_are_replaced_like_those_in_a_folder(versioned, tmp_path):
    config = configuration(tmp_path / "w", source=SYNTHETIC)
    version = ingest(config)
    data = config.paths.data
    (data / "accepted.json").write_text(
        json.dumps({"current": {"data_version": version.name}, "previous": None})
    )
    store = open_store(f"s3://{versioned}/shop")
    for _ in range(2):
        store.upload(data, "data")
    expected = data_version(canonical.without(Tables.read(version.folder), ME))
    bucket.erase(store, ME, NO_DATA, tmp_path / "work")
    left = everything(versioned)
    assert not any(map(names_them, left.values()))
    assert not any(version.name in key for key, _ in left), "the old folder is gone for good"
    assert markers(versioned) == []
    store.download(f"data/versions/{expected}", tmp_path / "back" / expected)
    assert intact(tmp_path / "back" / expected)
    told = json.loads(store.read_bytes("data/accepted.json"))
    assert told["current"]["data_version"] == expected
    assert json.loads(store.read_bytes("data/replaced.json")) == {version.name: expected}
    assert not store.list("data/inputs")


@pytest.mark.parametrize("moment", [0, 3, 6, 8])
def test_broken_off_between_two_objects_a_second_call_goes_on(versioned, tmp_path, moment):
    config = configuration(tmp_path / "w", source=SYNTHETIC)
    version = ingest(config)
    store = open_store(f"s3://{versioned}")
    store.upload(config.paths.data, "data")
    expected = data_version(canonical.without(Tables.read(version.folder), ME))
    calls: list[str] = []

    def expunge(key: str, *, keep_current: bool = False) -> int:
        if len(calls) == moment:
            raise KeyboardInterrupt
        calls.append(key)
        return type(store).expunge(store, key, keep_current=keep_current)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "expunge", expunge)
        with pytest.raises(KeyboardInterrupt):
            bucket.erase(store, ME, NO_DATA, tmp_path / "work")
    assert any(map(names_them, everything(versioned).values()))
    bucket.erase(store, ME, NO_DATA, tmp_path / "work")
    assert not any(map(names_them, everything(versioned).values()))
    store.download(f"data/versions/{expected}", tmp_path / "back" / expected)
    assert intact(tmp_path / "back" / expected)


def test_a_bucket_without_versions_is_rewritten_too(s3_bucket, tmp_path):
    store = open_store(f"s3://{s3_bucket}")
    store.write_bytes("x.parquet", parquet("u1", USER))
    bucket.erase(store, ME, NO_DATA, tmp_path)
    assert not any(map(names_them, everything(s3_bucket).values()))
    assert store.expunge("x.parquet") == 1
    assert store.list() == ()
    assert store.expunge("x.parquet") == 0


def test_a_bucket_that_is_not_there_is_said_so(s3_bucket, tmp_path):
    with pytest.raises(StorageError, match="bucket that does not exist"):
        bucket.erase(open_store("s3://no-such-bucket-here/x"), ME, NO_DATA, tmp_path)


def test_a_data_set_in_a_bucket_stays_whole(versioned, tmp_path):
    config = configuration(tmp_path / "w", source={**SYNTHETIC, "users": 12, "days": 30})
    version = ingest(config)
    whole = Tables.read(version.folder)
    items = catalogue_order(whole.items)
    width = np.ones((items.num_rows, 2), np.float32)
    words = ("",) * items.num_rows
    text = TextVectors(width, words, words, "e@0", 0, 0, 0, 0.0)
    old = build_dataset(whole, config, text, NAMES, version.name)
    old.write(tmp_path / "made")
    store = open_store(f"s3://{versioned}/kfp")
    store.upload(tmp_path / "made", "run/materialize/dataset")
    bucket.erase(store, ME, NO_DATA, tmp_path / "work")
    assert not any(map(names_them, everything(versioned).values()))
    store.download("run/materialize/dataset", tmp_path / "back")
    new = Dataset.read(tmp_path / "back")
    assert set(old.log.users) - set(new.log.users) == {ME.pseudonym}
    gone = old.log.user_of_event == old.log.users.index(ME.pseudonym)
    np.testing.assert_array_equal(new.log.times, old.log.times[~gone])
    np.testing.assert_array_equal(np.diff(new.log.offsets).sum(), len(new.log))


def test_a_folder_is_a_store_as_well(tmp_path):
    store = open_store(tmp_path / "copy")
    store.write_bytes("x/y.parquet", parquet("u1", USER))
    bucket.erase(store, ME, NO_DATA, tmp_path / "work")
    kept = pq.read_table(tmp_path / "copy" / "x" / "y.parquet")["user_id"].to_pylist()
    assert kept == ["u1"]
