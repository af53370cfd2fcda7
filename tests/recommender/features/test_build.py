"""Canonical tables become a data set whose rows mean what they say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tables_by_hand import configuration, item_table, tables

from recommender.errors import FeatureError, StorageError, TrainingError
from recommender.features.build import build_dataset, catalogue_order, event_log, history_log
from recommender.features.dataset import Dataset
from recommender.features.text import TextVectors
from recommender.privacy import Pseudonyms

NAMES = Pseudonyms(b"sixteen bytes ok")
EVENTS = [
    ("zoe", "b", "click", 10),
    ("adam", "a", "impression", 5),
    ("adam", "b", "purchase", 20, 2.0),
    *[("zoe", "a", "click", 100 * n) for n in range(1, 40)],
]


def vectors(count: int) -> TextVectors:
    made = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    return TextVectors(made, ("t",) * count, ("h",) * count, "e@1", count, 0, 0, 0.0)


@pytest.fixture
def config(tmp_path):
    return configuration(tmp_path)


@pytest.fixture
def dataset(config) -> Dataset:
    return build_dataset(tables(EVENTS, ["b", "c", "a"]), config, vectors(3), NAMES, "v1")


def test_items_are_in_the_order_of_their_ids_and_vectors_go_with_them(dataset):
    assert dataset.catalogue.ids == ("a", "b", "c")
    assert dataset.items["title"].to_pylist() == ["thing a", "thing b", "thing c"]
    assert dataset.text.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_users_are_pseudonyms_in_the_order_of_their_raw_ids(dataset):
    assert dataset.log.users == (NAMES.of("adam"), NAMES.of("zoe"))
    assert np.diff(dataset.log.offsets).tolist() == [2, 40]


def test_events_of_all_types_are_in_the_log(dataset):
    adam = slice(*dataset.log.offsets[:2])
    assert dataset.log.actions[adam].tolist() == [1, 3]
    assert dataset.log.times[adam].tolist() == [5, 20]
    assert np.isnan(dataset.log.values[adam][0])
    assert dataset.log.values[adam][1] == 2


def test_time_is_cut_by_the_events_that_make_histories(config):
    quiet = tables(EVENTS, ["a", "b", "c"])
    # Impressions by the thousand, all of them late, must not move the cut.
    noise = [("adam", "a", "impression", 3_900 + n) for n in range(1_000)]
    loud = tables([*EVENTS, *noise], ["a", "b", "c"])
    folds = [build_dataset(each, config, vectors(3), NAMES, "v").folds for each in (quiet, loud)]
    assert folds[0] == folds[1]
    assert folds[0][-1].test_end == 3_901


def test_history_log_leaves_out_mere_impressions(config):
    made = tables(EVENTS, ["a", "b", "c"])
    assert len(event_log(made, config)) - len(history_log(made, config)) == 1


def test_a_data_set_comes_back_from_its_folder(dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    back = Dataset.read(tmp_path / "dataset")
    for name in ("offsets", "items", "actions", "times"):
        ours, theirs = getattr(dataset.log, name), getattr(back.log, name)
        assert (ours.tolist(), ours.dtype) == (theirs.tolist(), theirs.dtype)
    np.testing.assert_array_equal(back.log.values, dataset.log.values)
    np.testing.assert_array_equal(back.text, dataset.text)
    assert back.log.users == dataset.log.users
    assert back.items.equals(dataset.items)
    assert (back.folds, back.data_version, back.encoder) == (dataset.folds, "v1", "e@1")


def test_the_same_data_set_gives_the_same_bytes(dataset, tmp_path):
    for name in ("one", "two"):
        dataset.write(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_no_raw_user_id_leaves_in_the_folder(dataset, tmp_path):
    dataset.write(tmp_path / "dataset")
    for path in (tmp_path / "dataset").iterdir():
        assert b"adam" not in path.read_bytes()
        assert b"zoe" not in path.read_bytes()


@pytest.mark.parametrize("name", ["log.parquet", "items.parquet", "text.safetensors"])
def test_a_damaged_data_set_says_to_run_the_step_again(dataset, tmp_path, name):
    dataset.write(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    with pytest.raises(StorageError, match="not a readable feature set") as told:
        Dataset.read(tmp_path)
    assert "materialize" in told.value.hint


def test_an_empty_catalogue_is_said():
    with pytest.raises(FeatureError, match="catalogue has no items"):
        catalogue_order(item_table([]))


def test_an_item_that_occurs_twice_is_said_by_count_and_example():
    with pytest.raises(FeatureError, match=r"2 items occur more than once, e\.g\. 'a'"):
        catalogue_order(item_table(["c", "a", "b", "a", "c"]))


def test_an_item_without_an_id_is_said():
    items = item_table(["a", "b"])
    nameless = items.set_column(0, "item_id", pa.array(["a", None], pa.string()))
    with pytest.raises(FeatureError, match="1 items have no item_id"):
        catalogue_order(nameless)


def test_vectors_of_another_catalogue_are_refused(config):
    with pytest.raises(FeatureError, match="2 text vectors for 3 items"):
        build_dataset(tables(EVENTS, ["a", "b", "c"]), config, vectors(2), NAMES, "v1")


def test_a_log_that_cannot_be_cut_is_said(config):
    with pytest.raises(TrainingError, match="1 events at one single time"):
        build_dataset(tables([("u", "a", "click", 1)]), config, vectors(1), NAMES, "v1")
