"""What nodes leave in S3 (moto): checkpoints that outlive a node, and a model that is whole."""

from __future__ import annotations

import shutil

import pytest
import torch
from tiny_world import tiny_config, tiny_dataset

from recommender.artifact import Model
from recommender.config import parse
from recommender.files import read_json
from recommender.storage import open_store
from recommender.training.checkpoint import Checkpoint
from recommender.training.distributed import node
from recommender.training.distributed.remote import (
    CHECKPOINTS,
    CONFIG,
    DATASET,
    FAILED,
    OUT,
    RemoteCheckpoints,
    is_there,
    put,
)


def saved(number: int) -> Checkpoint:
    return Checkpoint({"number": number}, {"weights/a": torch.full((3,), float(number))})


def test_checkpoints_outlive_the_node_that_wrote_them(s3_bucket, tmp_path):
    store = open_store(f"s3://{s3_bucket}/training/f")
    first = RemoteCheckpoints(tmp_path / "one", "f", store)
    for number in (1, 2, 3):
        first.save(saved(number))
    states = [entry.key for entry in store.list(CHECKPOINTS) if entry.key.endswith("state.json")]
    assert len(states) == 2
    shutil.rmtree(tmp_path / "one")
    found = RemoteCheckpoints(tmp_path / "another", "f", store).latest()
    assert found is not None
    assert found.values == {"number": 3}
    assert torch.equal(found.tensors["weights/a"], torch.full((3,), 3.0))
    # Going on there, the numbers go on, too.
    second = RemoteCheckpoints(tmp_path / "another", "f", store)
    second.save(saved(4))
    third = RemoteCheckpoints(tmp_path / "third", "f", store)
    assert third.latest().values == {"number": 4}
    third.clear()
    assert store.list(CHECKPOINTS) == ()
    assert RemoteCheckpoints(tmp_path / "fourth", "f", store).latest() is None


def test_a_damaged_or_half_written_one_is_passed_over(s3_bucket, tmp_path):
    store = open_store(f"s3://{s3_bucket}/training/f")
    first = RemoteCheckpoints(tmp_path / "one", "f", store)
    first.save(saved(1))
    first.save(saved(2))
    damaged = f"{CHECKPOINTS}/checkpoint-00000002/tensors.safetensors"
    store.write_bytes(damaged, b"no tensors")
    # Its node was lost before it said that all was there.
    store.write_bytes(f"{CHECKPOINTS}/checkpoint-00000003/tensors.safetensors", b"half")
    found = RemoteCheckpoints(tmp_path / "another", "f", store).latest()
    assert found is not None
    assert found.values == {"number": 1}


def test_one_whose_download_was_killed_is_fetched_again(s3_bucket, tmp_path):
    store = open_store(f"s3://{s3_bucket}/training/f")
    first = RemoteCheckpoints(tmp_path / "one", "f", store)
    first.save(saved(1))
    first.save(saved(2))
    half = tmp_path / "another" / "checkpoint-00000002"
    half.mkdir(parents=True)
    shutil.copy(tmp_path / "one" / half.name / "state.json", half)
    found = RemoteCheckpoints(tmp_path / "another", "f", store).latest()
    assert found is not None
    assert found.values == {"number": 2}


def test_nodes_meet_at_the_first_one_and_go_on_with_as_few_as_are_allowed(tmp_path):
    tree = tiny_config(tmp_path).model_dump(mode="json")
    tree["distributed"] |= {"nodes": 4, "least_nodes": 2}
    config = parse(tree, "test")
    named = {"PET_MASTER_ADDR": "job-node-0-0.job", "PET_MASTER_PORT": "29400"}
    words = node.rendezvous(config, "s3://bucket/x/abc", named)
    assert "--nnodes=2:4" in words
    assert "--rdzv-endpoint=job-node-0-0.job:29400" in words
    assert "--rdzv-id=abc" in words
    assert node.rendezvous(config, "s3://bucket/x/abc", {}) == ["--standalone"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_trains_and_leaves_a_model_and_a_second_start_finds_it(
    s3_bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    tree = tiny_config(tmp_path, epochs=1, accumulate=2, refit=False).model_dump(mode="json")
    tree["distributed"] |= {"launcher": "trainjob", "ranks": 2, "timeout_s": 120}
    config = parse(tree, "test")
    remote = f"s3://{s3_bucket}/training/abc"
    store = open_store(remote)
    tiny_dataset().write(tmp_path / "dataset")
    put(store, tmp_path / "dataset", DATASET)
    store.write_bytes(CONFIG, config.to_json().encode())
    words = [remote, "0", "--scratch", str(tmp_path / "scratch")]
    assert node.main(words) == 0
    assert is_there(store, OUT)
    store.download(OUT, tmp_path / "out")
    assert Model.load(tmp_path / "out" / "model").scorer.kind == "transformer"
    assert read_json(tmp_path / "out" / "trained.json")["curve"]
    assert store.list(CHECKPOINTS)
    before = store.list(OUT)
    assert node.main([remote, "0", "--scratch", str(tmp_path / "fresh")]) == 0
    assert store.list(OUT) == before
    # A mistake of the user's ends the node well, and is told.
    tree["training"]["accumulate"] = 1
    other = f"s3://{s3_bucket}/training/other"
    wrong = open_store(other)
    put(wrong, tmp_path / "dataset", DATASET)
    wrong.write_bytes(CONFIG, parse(tree, "test").to_json().encode())
    assert node.main([other, "0", "--scratch", str(tmp_path / "third")]) == 0
    assert b"2 processes share steps of 1 batches" in wrong.read(FAILED).data
