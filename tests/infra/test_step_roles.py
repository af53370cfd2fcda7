"""What steps do in S3, held against what Terraform's roles allow them."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from types import SimpleNamespace

import boto3
import botocore.client
import numpy as np
import pyarrow as pa
import pytest
import yaml

from components.ingest.step import since_the_source
from components.train.trainjob import launch
from components.train.trainjob.manifest import remote_of
from feature_repo.offline import write_snapshot
from feature_repo.profile import read_profile
from feature_repo.stream.event import StreamEvent
from feature_repo.stream.opening import landing_of
from pipelines.cluster_parameters import STEP_LABEL
from pipelines.triggers.signals import decayed, drifted
from recommender.config import parse
from recommender.quality.accepted import Accepted, accept
from recommender.quality.statistics import Statistics
from recommender.served import FEEDBACK, SERVED
from recommender.served_store import ServedStore
from recommender.sources.versions import ingest
from recommender.storage import open_store
from recommender.tables import Tables

IDENTITY = Path(__file__).parents[2] / "infra" / "terraform" / "modules" / "identity" / "main.tf"
ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
}


def allowed(step: str, action: str, bucket: str, key: str) -> bool:
    """Tell whether a step's role allows an action, as `main.tf` writes the role."""
    code = IDENTITY.read_text()
    verbs = {
        name: re.findall(r'"(s3:\w+)"', told)
        for name, told in re.findall(r"^    (\w) = \[(.*)\]$", code, re.MULTILINE)
    }
    (line,) = re.findall(rf"^    {step}\s+= \{{(.*)\}}$", code, re.MULTILINE)
    buckets = dict(re.findall(r'(\w+) = "(\w)"', line))
    if action == "s3:ListBucket":
        return bucket in buckets
    deletes = re.findall(rf'step = "{step}", bucket = "{bucket}", keys = "(.*?)"', code)
    if action == "s3:DeleteObject" and any(fnmatch.fnmatch(key, keys) for keys in deletes):
        return True
    return bucket in buckets and action in verbs[buckets[bucket]]


@pytest.fixture
def asked(s3_bucket, monkeypatch):
    """What is asked of S3 from here on, as (action, kind of bucket, key)."""
    names = {kind: f"{kind}-{s3_bucket}" for kind in ("features", "logs", "artifacts")}
    for name in names.values():
        boto3.client("s3").create_bucket(Bucket=name)
    found: set[tuple[str, str, str]] = set()
    call = botocore.client.BaseClient._make_api_call

    def noted(client, operation, given):
        kind = given["Bucket"].removesuffix(f"-{s3_bucket}")
        found.add((ACTIONS[operation], kind, given.get("Key", "")))
        return call(client, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", noted)
    monkeypatch.setenv("OSTINATO_PROFILE", "production")
    monkeypatch.setenv("OSTINATO_OFFLINE", f"s3://{names['features']}/shop")
    monkeypatch.setenv("OSTINATO_REDIS", "redis:6379")
    monkeypatch.setenv("OSTINATO_REGISTRY", "postgresql+psycopg://registry/feast")
    return SimpleNamespace(found=found, names=names)


def configured(asked, root: Path, source=None):
    return parse(
        {
            "name": "shop",
            "workspace": str(root),
            "source": source or {"kind": "synthetic"},
            "actions": {"types": ["click"], "success": ["click"]},
            "serving": {"log": {"sink": "parquet", "location": f"s3://{asked.names['logs']}/shop"}},
            "distributed": {"trainjob": {"location": f"s3://{asked.names['artifacts']}/training"}},
        },
        "test",
    )


def row_of(schema: pa.Schema) -> pa.Table:
    """Return one row: text "a", everything else 1 (times in 1970)."""

    def one(kind: pa.DataType) -> pa.Array:
        if kind == pa.string():
            return pa.array(["a"])
        return pa.array([1], pa.int64()).cast(kind)

    return pa.table([one(each.type) for each in schema], schema=schema)


def refused(step: str, asked) -> list[tuple[str, str, str]]:
    return sorted(each for each in asked.found if not allowed(step, *each))


def test_ingest_may_read_what_landed_and_join_the_served_lists(asked, tmp_path):
    config = configured(asked, tmp_path)
    landing_of(config).land([StreamEvent("e", "u", "i", "click", 1)], 1)
    log = ServedStore(config.serving.log.location)
    for kind, schema in (("served", SERVED), ("feedback", FEEDBACK)):
        for _ in range(2):
            log.write(kind, row_of(schema))
    asked.found.clear()
    assert since_the_source(config) is not None
    assert {"s3:DeleteObject", "s3:PutObject"} <= {each[0] for each in asked.found}
    assert refused("ingest", asked) == []


def test_the_trigger_receiver_may_look_at_drift_and_decay_and_changes_nothing(asked, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,time\nu,i,1\n")
    events = {"location": str(log), "columns": {"user": "user", "item": "item", "time": "time"}}
    source = {
        "kind": "mapped",
        "events": {**events, "time": {"unit": "ms"}, "types": {"rules": [{"event": "click"}]}},
        "items": {"columns": {"item": "item", "title": "item"}},
    }
    config = configured(asked, tmp_path / "state", source)
    version = ingest(config)
    statistics = Statistics.of(Tables.read(version.folder), config.actions)
    accept(config.paths.data, Accepted(version.name, "2026-01-01T00:00:00+00:00", statistics))
    landing_of(config).land([StreamEvent("e", "u", "i", "click", 1)], 1)
    served = ServedStore(config.serving.log.location)
    for kind, schema in (("served", SERVED), ("feedback", FEEDBACK)):
        for _ in range(2):  # a finished day of two files
            served.write(kind, row_of(schema))
    asked.found.clear()
    drifted(config)
    decayed(config)
    assert {each[1] for each in asked.found} == {"features", "logs"}
    assert refused("triggers", asked) == []


def test_the_stream_may_join_what_landed_and_delete_nothing_else(asked, tmp_path):
    landing = landing_of(configured(asked, tmp_path))
    for name in ("e1", "e2"):
        landing.land([StreamEvent(name, "u", "i", "click", 1)], 1)
    assert landing.compact() == 2
    assert any(each[0] == "s3:DeleteObject" for each in asked.found)
    assert refused("stream", asked) == []
    assert not allowed("stream", "s3:DeleteObject", "features", "shop/shop/item/snapshot.parquet")


def test_train_may_delete_below_its_own_prefix_only(asked, tmp_path):
    config = configured(asked, tmp_path)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "users.npy").write_bytes(np.zeros(1).tobytes())
    store = open_store(remote_of(config, "f"))
    launch._bring(store, tmp_path / "dataset", config)
    for entry in store.list():
        store.delete(entry.key)
    assert any(each[0] == "s3:DeleteObject" for each in asked.found)
    assert refused("train", asked) == []
    assert not allowed("train", "s3:DeleteObject", "artifacts", "reports/run.json")


@pytest.mark.parametrize("step", ["materialize", "deploy"])
def test_who_publishes_may_read_what_landed_and_write_snapshots(asked, tmp_path, step):
    """`deploy` publishes the live lane, before it starts a candidate and after a promotion."""
    config = configured(asked, tmp_path)
    landing_of(config).land([StreamEvent("e", "u", "i", "click", 1)], 1)
    asked.found.clear()
    assert landing_of(config).read() is not None
    location = read_profile().offline_location(config.paths.features, "shop")
    write_snapshot(location, "item_text", pa.table({"item_id": ["a"]}))
    assert ("features", "s3:PutObject") in {(each[1], each[0]) for each in asked.found}
    assert refused(step, asked) == []


def test_every_step_may_fetch_its_inputs_and_store_its_outputs():
    """Where `backend.pipeline_root` is the bucket `artifacts`: KFP's launcher does both."""
    folder = IDENTITY.parents[4] / "pipelines" / "compiled"
    told = set()
    for path in folder.glob("*.yaml"):
        spec, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
        pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for component in spec["components"].values():
            if "executorLabel" not in component:
                continue
            step = pods[component["executorLabel"]]["podMetadata"]["labels"][STEP_LABEL]
            reads = "artifacts" in component.get("inputDefinitions", {})
            writes = "artifacts" in component.get("outputDefinitions", {})
            told |= {(step, "s3:GetObject")} if reads else set()
            told |= {(step, "s3:PutObject")} if writes else set()
    assert ("deploy", "s3:PutObject") in told
    assert {each for each in told if not allowed(*each, "artifacts", "v2/artifacts/x")} == set()


def test_nobody_else_deletes():
    code = IDENTITY.read_text()
    steps = re.findall(r"^    ([\w-]+)\s+= \{ ", code, re.MULTILINE)
    may = {
        step
        for step in steps
        for bucket in ("data", "features", "artifacts", "registry", "logs")
        if any(
            allowed(step, "s3:DeleteObject", bucket, key)
            for key in ("training/f/x", "shop/shop/user_event/x", "x")
        )
    }
    assert may == {"ingest", "stream", "train", "forget"}
