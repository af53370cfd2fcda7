"""Who reads which people, which batches make a step, and what all must know of the whole log."""

from dataclasses import fields, replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_world import tiny_config, tiny_dataset

from recommender.config import parse
from recommender.errors import ConfigError
from recommender.features import dataset as datasets
from recommender.features.dataset import Dataset
from recommender.training.checkpoint import Checkpoints
from recommender.training.distributed.facts import Facts
from recommender.training.distributed.ground import LaneGround
from recommender.training.distributed.lanes import LanePlan, own_lanes, user_ranges
from recommender.training.distributed.ranks import joined
from recommender.training.examples import Examples
from recommender.training.ground import Here, Start
from recommender.training.log_read import examples_of


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 8))
def test_every_user_is_in_one_lane_and_no_lane_is_empty(events, lanes):
    offsets = np.concatenate([[0], np.cumsum(events)])
    if len(events) < lanes:
        with pytest.raises(ConfigError, match=r"lower training\.accumulate"):
            user_ranges(offsets, lanes)
        return
    ranges = user_ranges(offsets, lanes)
    assert [user for first, stop in ranges for user in range(first, stop)] == list(
        range(len(events))
    )
    assert all(first < stop for first, stop in ranges)


def test_lanes_hold_about_as_many_events_each():
    offsets = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(1, 20, 1000))])
    held = [offsets[stop] - offsets[first] for first, stop in user_ranges(offsets, 8)]
    assert max(held) - min(held) < 40


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 6))
def test_all_processes_together_take_every_batch_once_in_the_same_steps(counts, size):
    lanes = len(counts)
    size = min(size, lanes)
    counts_L = np.array(counts)
    plans = [
        LanePlan({}, {lane: [np.zeros(0)] * counts[lane] for lane in mine}, counts_L, 7, 0)
        for mine in (own_lanes(lanes, rank, size) for rank in range(size))
    ]
    assert {len(each) for each in plans} == {sum(counts)}
    done, steps, taken = 0, 0, 0
    while done < sum(counts):
        found = [each.step(done) for each in plans]
        of = {each.of for each in found}
        assert len(of) == 1
        # Everybody computes something; what counts adds up to the step.
        assert all(each.own >= 1 for each in found)
        assert sum(each.own for each in found if each.weight) == of.pop()
        taken += sum(each.own for each in found if each.weight)
        done += found[0].of
        steps += 1
    assert taken == sum(counts)
    assert steps == plans[0].steps == max(counts)


def test_a_part_is_read_from_its_own_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 64)
    whole = tiny_dataset()
    whole.write(tmp_path / "data")
    ranges = user_ranges(whole.log.offsets, 3)
    read = []
    original = pq.ParquetFile.read_row_groups

    def counted(file, groups, **more):
        read.append(list(groups))
        return original(file, groups, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    parts = [Dataset.read(tmp_path / "data", users).log for users in ranges]
    assert sum((part.users for part in parts), ()) == whole.log.users
    for name in ("items", "actions", "times", "values"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole.log, name))
    groups = pq.ParquetFile(tmp_path / "data" / "log.parquet").num_row_groups
    assert groups > 10
    # Neighbours share the group in which one's people end and the other's begin, at most.
    assert sum(len(each) for each in read) <= groups + len(ranges) - 1


@pytest.mark.parametrize("switch", ["plain", "latest", "demand", "one slice"])
def test_facts_from_the_parts_are_those_of_the_whole_log(tmp_path, switch):
    data = tiny_dataset()
    tree = tiny_config(tmp_path).model_dump(mode="json")
    tree["training"]["windows"] = "latest" if switch == "latest" else "all"
    tree["training"]["popularity_slices"] = 1 if switch == "one slice" else 8
    tree["model"]["demand"] = switch == "demand"
    config, fold = parse(tree, "test"), data.folds[-1]
    start: Start = Here(data, fold, config).start(fold.test_start)
    data.write(tmp_path / "data")
    ranges = user_ranges(data.log.offsets, 3)
    parts = [Dataset.read(tmp_path / "data", users) for users in ranges]
    facts = Facts.build((part.log for part in parts), fold.test_start, data.items, config)
    told = [facts.told_to(examples_of(part, fold.test_start, config)) for part in parts]
    for each in told:
        for name in ("known", "popularity", "latest"):
            np.testing.assert_array_equal(getattr(each, name), getattr(start.examples, name))
    for name in ("item", "weight", "action", "now", "slice", "position", "window_length"):
        joined = np.concatenate([getattr(each, name) for each in told])
        np.testing.assert_array_equal(joined, getattr(start.examples, name))


def test_the_scale_of_values_is_that_of_every_lane(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    data = tiny_dataset()
    # Whoever comes later rates higher: no lane is like the whole.
    rising = data.log.user_of_event + np.linspace(0, 1, len(data.log))
    data = replace(data, log=replace(data.log, values=rising.astype(np.float32)))
    data.write(tmp_path / "data")
    tree = tiny_config(tmp_path, accumulate=3).model_dump(mode="json")
    tree["model"]["ranking"]["values"] = [{"name": "rating", "events": ["click"]}]
    config, cut = parse(tree, "test"), data.folds[-1].test_start
    alone = Here(data, data.folds[-1], config).start(cut).module.action.values
    with joined("gloo", 30, f"file://{tmp_path}/meeting") as ranks:
        checkpoints = Checkpoints(tmp_path / "checkpoints", "f")
        ground = LaneGround(tmp_path / "data", -1, config, ranks, checkpoints)
        values = ground.start(cut).module.action.values
    np.testing.assert_allclose(values.center_G, alone.center_G, rtol=1e-6)
    np.testing.assert_allclose(values.scale_G, alone.scale_G, rtol=1e-6)


def test_the_catalogue_is_read_once_however_many_lanes_a_process_has(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    tiny_dataset().write(tmp_path / "data")
    reads, original = [], datasets.load_file
    monkeypatch.setattr(datasets, "load_file", lambda path: (reads.append(path), original(path))[1])
    with joined("gloo", 30, f"file://{tmp_path}/meeting") as ranks:
        config = tiny_config(tmp_path, accumulate=4)
        checkpoints = Checkpoints(tmp_path / "checkpoints", "f")
        ground = LaneGround(tmp_path / "data", 0, config, ranks, checkpoints)
        ground.start(ground.fold.test_start)
    assert len(reads) == 1


def test_a_new_field_of_examples_is_thought_of():
    """Fields are of single people, or facts of all; a field that is neither would go wrong."""
    of_people = {
        *("history", "window_start", "window_length", "context_offsets", "position", "now"),
        *("item_offsets", "item", "weight", "action_offsets", "action_item", "action", "value"),
        *("exclude_seen", "surface", "people"),
    }
    of_all = {"slice", "popularity", "latest", "known"}
    assert {field.name for field in fields(Examples)} == of_people | of_all
