"""Processes that share the item tables out train what one does, and hold their share alone."""

import json
import signal

import numpy as np
import pytest
from test_ranks_equal_one import curve, ran, same_as, weights
from tiny_world import tiny_config

from recommender.config import parse
from recommender.errors import ConfigError
from recommender.model.transformer import ITEM_ROWS
from recommender.training.distributed.shards import row_range

SHARDS = {"shard_items": True}
SAMPLED = {"accumulate": 2, "epochs": 1, "refit": False, "loss": "sampled", "negatives": 8}
TWICE = {**SAMPLED, "epochs": 2, "refit": True, "ema": 0.9}
UNEVEN = {**SAMPLED, "accumulate": 3}
TARGET = {"ranking": {"head": "target"}}
SHORT = {
    "training": {**SAMPLED, "tokens_per_batch": 512, "clip": 0.05},
    "model": TARGET,
    "watch": 4,
}
QUICK = {
    "alone": {"size": 1, **SHORT},
    "both": {"size": 2, **SHORT, "distributed": SHARDS},
}
LONG = {
    "alone": {"size": 1, "training": TWICE},
    "both": {"size": 2, "training": TWICE, "distributed": SHARDS},
    "broken": {
        "size": 2,
        "training": TWICE,
        "distributed": SHARDS,
        "kill": [1, 5],
        "workspace": "mended",
    },
    "mended": {"size": 2, "training": TWICE, "distributed": SHARDS},
    "uneven alone": {"size": 1, "training": UNEVEN},
    "uneven": {"size": 2, "training": UNEVEN, "distributed": SHARDS},
    "three broken": {
        "size": 3,
        "training": UNEVEN,
        "distributed": SHARDS,
        "kill": [1, 5],
        "workspace": "fewer",
    },
    "fewer": {"size": 2, "training": UNEVEN, "distributed": SHARDS},
    "whole broken": {"size": 2, "training": UNEVEN, "kill": [1, 5], "workspace": "shared"},
    "shared": {"size": 2, "training": UNEVEN, "distributed": SHARDS},
    "shared broken": {
        "size": 2,
        "training": UNEVEN,
        "distributed": SHARDS,
        "kill": [1, 5],
        "workspace": "one",
    },
    "one": {"size": 1, "training": UNEVEN},
    "gbce": {"size": 2, "training": {**SAMPLED, "loss": "gbce"}, "distributed": SHARDS},
    "gbce alone": {"size": 1, "training": {**SAMPLED, "loss": "gbce"}},
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("shards"), QUICK)


def held(root, name, size):
    return [json.loads((root / f"{name}.{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("more_shards"), LONG)


def test_shared_tables_give_the_curve_and_the_weights_of_one_process(quick):
    statuses, root, _ = quick
    assert statuses == {"alone": [0], "both": [0, 0]}
    same_as(root, "both", "alone")
    shapes = {name: value.shape for name, value in weights(root, "both").items()}
    assert shapes == {name: value.shape for name, value in weights(root, "alone").items()}
    assert "action.target.own_ID" in shapes


def test_no_process_holds_more_than_its_share_of_tables_and_moments_in_training(quick):
    _, root, _ = quick
    tables = [weights(root, "both")[name] for name in ITEM_ROWS]
    rows, width = tables[0].shape
    (alone,) = held(root, "alone", 1)
    assert alone["numbers"] == 3 * sum(table.size for table in tables)
    assert [rows, width] in alone["shapes"]
    for told in held(root, "both", 2):
        assert told["numbers"] * 2 == alone["numbers"]
        assert [rows, width] not in told["shapes"]
        assert [rows // 2, width] in told["shapes"]


def test_gradients_of_rows_are_means_and_clipped_with_all_others(quick):
    _, root, _ = quick
    (alone,) = held(root, "alone", 1)
    both = held(root, "both", 2)
    assert sum(told["squares"] for told in both) == pytest.approx(alone["squares"], rel=1e-4)
    assert all(told["squares"] > 0 for told in both)


def test_ranges_of_rows_are_even_and_leave_nothing_out():
    ranges = [row_range(41, rank, 4) for rank in range(4)]
    assert ranges == [(0, 10), (10, 20), (20, 30), (30, 41)]


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        ("training", {"loss": "full"}, "set training.loss to sampled or gbce"),
        ("model", {"id_buckets": 8}, "set model.id_buckets to 0"),
        ("distributed", {"launcher": "none"}, "distributed.launcher to torchrun or trainjob"),
    ],
)
def test_what_needs_whole_tables_is_refused(tmp_path, part, settings, said):
    tree = json.loads(tiny_config(tmp_path, loss="sampled").to_json())
    tree["distributed"] |= {"launcher": "torchrun", **SHARDS}
    assert parse(tree, "test").distributed.shard_items
    tree[part] |= settings
    with pytest.raises(ConfigError, match=said):
        parse(tree, "test")


@pytest.mark.slow
def test_search_refit_and_running_mean_are_the_same_too(long):
    statuses, root, _ = long
    assert statuses["both"] == [0, 0]
    same_as(root, "both", "alone")


@pytest.mark.slow
def test_a_restart_with_shared_tables_loses_nothing(long):
    statuses, root, _ = long
    assert statuses["broken"] == [1, -signal.SIGKILL]
    assert statuses["mended"] == [0, 0]
    for name, value in weights(root, "both").items():
        np.testing.assert_array_equal(weights(root, "mended")[name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uneven", "fewer", "shared", "one"])
def test_other_numbers_of_processes_go_on_and_lanes_need_not_be_even(long, name):
    statuses, root, _ = long
    assert set(statuses[name]) == {0}
    same_as(root, name, "uneven alone")


@pytest.mark.slow
def test_processes_that_went_on_had_a_checkpoint_to_go_on_from(long):
    statuses, _, _ = long
    assert statuses["three broken"] == [1, -signal.SIGKILL, 1]
    assert statuses["whole broken"] == statuses["shared broken"] == [1, -signal.SIGKILL]


@pytest.mark.slow
def test_calibrated_binary_losses_read_rows_too(long):
    _, root, _ = long
    np.testing.assert_allclose(curve(root, "gbce"), curve(root, "gbce alone"), rtol=1e-4)
