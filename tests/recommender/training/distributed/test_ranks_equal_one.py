"""Two processes give what one gives; one of them killed loses nothing. Real gloo, real SIGKILL."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_world import tiny_config, tiny_dataset

from recommender.files import read_json
from recommender.training.run import train

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(900)
ONCE = {"accumulate": 2, "epochs": 1, "refit": False}
TWICE = {**ONCE, "epochs": 2, "refit": True}
SAMPLED = {**ONCE, "loss": "sampled", "negatives": 8}
CALM = {"accumulate": 1, "epochs": 1, "refit": False, "empty_share": 0.0}
QUICK = {
    "alone": {"size": 1, "training": ONCE},
    "both": {"size": 2, "training": ONCE},
    "broken": {"size": 2, "training": ONCE, "kill": [1, 5]},
    "mended": {"size": 2, "training": ONCE, "workspace": "broken"},
    "too many": {"size": 3, "training": ONCE},
}
LONG = {
    "alone": {"size": 1, "training": TWICE},
    "both": {"size": 2, "training": TWICE},
    "first broken": {"size": 2, "training": TWICE, "kill": [0, 5], "workspace": "shrunk"},
    "shrunk": {"size": 1, "training": TWICE},
    "sampled": {"size": 2, "training": SAMPLED},
    "sampled alone": {"size": 1, "training": SAMPLED},
    "one lane": {"size": 1, "training": CALM},
}


def ran(root, scenarios):
    """Run scenarios; return their statuses by name, where they left things, and what was said."""
    tiny_dataset().write(root / "dataset")
    told = [
        {"out": name, "workspace": each.get("workspace", name), **each}
        for name, each in scenarios.items()
    ]
    done = subprocess.run(
        [sys.executable, HERE / "forked_ranks.py", str(root), json.dumps(told)],
        capture_output=True,
        timeout=840,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path]),
        },
    )
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    return dict(zip(scenarios, json.loads(done.stdout), strict=True)), root, done.stderr


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("quick"), QUICK)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("long"), LONG)


def curve(root, name):
    rows = read_json(root / name / "trained.json")["curve"]
    return np.array([[row["item_loss"], row["action_loss"], row["events"]] for row in rows])


def ndcgs(root, name):
    return [row["ndcg"] for row in read_json(root / name / "trained.json")["curve"]]


def weights(root, name):
    return load_file(root / name / "model" / "weights.safetensors")


def same_as_alone(root, name):
    same_as(root, name, "alone")


def same_as(root, name, other):
    np.testing.assert_allclose(curve(root, name), curve(root, other), rtol=1e-4)
    searched = ndcgs(root, other).index(None) if None in ndcgs(root, other) else None
    ours, theirs = ndcgs(root, name)[:searched], ndcgs(root, other)[:searched]
    assert ours == pytest.approx(theirs, rel=0.02)
    for part, value in weights(root, other).items():
        np.testing.assert_allclose(weights(root, name)[part], value, atol=2e-3, err_msg=part)


def test_two_ranks_give_the_loss_curve_of_one_with_the_same_global_batch(quick):
    statuses, root, _ = quick
    assert statuses["alone"] == [0]
    assert statuses["both"] == [0, 0]
    same_as_alone(root, "both")


def test_a_rank_killed_mid_epoch_ends_the_others_and_the_restart_loses_nothing(quick):
    statuses, root, _ = quick
    assert statuses["broken"] == [1, -signal.SIGKILL]
    assert statuses["mended"] == [0, 0]
    for file in ("model.json", "weights.safetensors", "items.json"):
        again = (root / "mended" / "model" / file).read_bytes()
        assert again == (root / "both" / "model" / file).read_bytes()


def test_more_processes_than_lanes_are_refused_with_what_to_do(quick):
    statuses, _, said = quick
    assert statuses["too many"] == [2, 2, 2]
    assert "3 processes share steps of 2 batches" in said
    assert "set training.accumulate to a multiple of 3" in said


@pytest.mark.slow
def test_search_and_refit_are_the_same_too(long):
    statuses, root, _ = long
    assert statuses["both"] == [0, 0]
    assert len(curve(root, "both")) > 2
    same_as_alone(root, "both")


@pytest.mark.slow
def test_fewer_processes_go_on_where_more_were_stopped(long):
    statuses, root, _ = long
    assert statuses["first broken"] == [-signal.SIGKILL, 1]
    assert statuses["shrunk"] == [0]
    same_as_alone(root, "shrunk")


@pytest.mark.slow
def test_sampled_negatives_are_those_of_the_batch_whoever_computes_it(long):
    _, root, _ = long
    np.testing.assert_allclose(curve(root, "sampled"), curve(root, "sampled alone"), rtol=1e-4)


@pytest.mark.slow
def test_one_lane_is_what_a_single_process_trains(long, tmp_path):
    """The same batches, popularity and validation; only dropout is drawn otherwise."""
    _, root, _ = long
    data = tiny_dataset()
    plain = train(data, data.folds[-1], tiny_config(tmp_path, **CALM))
    told = np.array([[e.item_loss, e.action_loss, e.events] for e in plain.curve])
    np.testing.assert_allclose(curve(root, "one lane")[:, 2], told[:, 2])
    np.testing.assert_allclose(curve(root, "one lane"), told, rtol=0.02)
