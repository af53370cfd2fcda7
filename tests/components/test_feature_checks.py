"""The materialize step judges features before it publishes them; training refuses stale ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tables_by_hand import configuration, tables

from components.materialize.step import run
from components.train.step import run as train
from feature_repo.freshness import place_of, read
from feature_repo.locations import offline_folder, online_db
from feature_repo.online import OnlineFeatures
from recommender.features.expectations.profile import NAME
from recommender.features.freshness import DATASET_FILE, read_of_dataset
from recommender.files import read_json, write_json

ITEMS = [{"item_id": item, "title": f"{item} scarf", "price": 2.0} for item in "abc"]
HOUR = 3_600_000
EVENTS = [
    (f"user {n % 40}", "abc"[n % 3], ("impression", "click", "purchase")[n % 3], n * HOUR)
    for n in range(1200)
]


@pytest.fixture
def make(tmp_path):
    """Run the step on tables; return its record."""

    def made(run_id: str, events=EVENTS, items=ITEMS, version="v-1", **sections) -> dict:
        config = configuration(tmp_path / "workspace", **sections)
        clean = tmp_path / f"clean-{run_id}"
        tables(events, items).write(clean)
        write_json(clean / "manifest.json", {"data_version": version})
        try:
            run(config.to_json(), run_id, str(clean), str(tmp_path / run_id))
        finally:
            record = json.loads(
                (config.paths.run(run_id) / "steps" / "materialize.json").read_text()
            )
        return {**record, "config": config}

    return made


def test_good_features_are_judged_published_and_kept_for_the_next_run(make, tmp_path):
    told = make("run-1")
    config = told["config"]
    features = told["summary"]["features"]
    assert features["verdict"] == "passed"
    assert features["against"] is None
    page = Path(features["report"]).read_text()
    assert "These are the first features" in page
    report = read_json(config.paths.run("run-1") / "features.json")
    assert report["data_version"] == "v-1"
    assert report["published"].keys() == report["profile"]["views"].keys()
    assert (config.paths.features / NAME).exists()

    found = read(place_of(config.paths, "by_hand_rehearsal"))
    assert {"user_sequence", "user_activity", "item_text"} <= found.keys()
    now = round(time.time() * 1000)
    assert all(record.age_s(now) < 120 for record in found.values())
    assert found["user_sequence"].data_version == "v-1"
    assert found["user_sequence"].rows == 40
    assert found["item_text"].newest_event_ms is None

    # The data set knows later events than what was published with it.
    dated = read_of_dataset(tmp_path / "run-1")
    cut = report["as_of_ms"]
    assert found["user_sequence"].newest_event_ms < cut
    assert dated["user_sequence"].newest_event_ms == 1199 * HOUR >= cut


def test_a_bad_feature_stops_the_run_and_leaves_the_store_alone(make, tmp_path):
    config = make("run-1")["config"]
    stores = online_db(config.paths), offline_folder(config.paths.features, "by_hand_rehearsal")
    with OnlineFeatures(config.paths, "by_hand_rehearsal") as store:
        before = repr(store.user_histories(f"user {n}" for n in range(40)))
    kept = (config.paths.features / NAME).read_bytes()
    snapshots = {path: path.read_bytes() for path in stores[1].glob("*.parquet")}

    broken = [{**ITEMS[0], "price": float("inf")}, *ITEMS[1:]]
    with pytest.raises(SystemExit) as stopped:
        make("run-2", items=broken, version="v-2")
    message = str(stopped.value)
    assert "item_attributes: prices are finite and believable: 1 of 3 rows break it" in message
    assert "e.g. a" in message
    assert "features.html" in message
    told = json.loads((config.paths.run("run-2") / "steps" / "materialize.json").read_text())
    assert told["status"] == "failed"
    assert told["summary"]["features"]["broken"] == [
        "item_attributes: prices are finite and believable"
    ]
    assert "Failed" in (config.paths.run("run-2") / "features.html").read_text()
    with OnlineFeatures(config.paths, "by_hand_rehearsal") as store:
        assert repr(store.user_histories(f"user {n}" for n in range(40))) == before
    assert {path: path.read_bytes() for path in stores[1].glob("*.parquet")} == snapshots
    assert (config.paths.features / NAME).read_bytes() == kept


def test_features_that_moved_are_compared_with_the_last_run_that_published(make):
    few = {"features": {"text": {"threads": 1}, "expectations": {"drift": {"minimum_rows": 10}}}}
    make("run-1", **few)
    half = [event for event in EVENTS if int(event[0].split()[1]) < 20]
    told = make("run-2", events=half, version="v-2", **few)
    features = told["summary"]["features"]
    assert features["against"] == "v-1"
    assert "user_sequence: drift: number of rows" in features["warned"]
    assert features["verdict"] == "passed with warnings"
    # Judged again (a step that is tried once more), it is compared with the same run.
    again = make("run-3", events=half, version="v-2", **few)["summary"]["features"]
    assert {**again, "report": ""} == {**features, "report": ""}
    # Histories of a third of the length are another world: that is for a person to decide.
    with pytest.raises(SystemExit, match="user_sequence: drift: events: "):
        make("run-4", events=EVENTS[:400], version="v-3", **few)


def test_training_refuses_a_data_set_that_is_too_old(make, tmp_path):
    config = make("run-1")["config"]
    path = tmp_path / "run-1" / DATASET_FILE
    held = read_json(path)
    for record in held.values():
        record["published_ms"] -= 30 * HOUR
    write_json(path, held)
    strict = configuration(config.paths.root, features={"freshness": {"max_age_hours": 24}})
    with pytest.raises(SystemExit) as stopped:
        train(strict.to_json(), "run-1", str(tmp_path / "run-1"), str(tmp_path / "model"))
    message = str(stopped.value)
    assert message.startswith("train: the features that by-hand is to be trained on are stale:")
    assert "user_sequence last changed" in message
    assert "1 d 6 h ago; the limit is 1 d (features.freshness.max_age_hours)" in message
    assert "run the pipeline again" in message
    assert not (tmp_path / "model").exists()


def test_training_refuses_data_that_lags_and_data_that_nobody_dated(make, tmp_path):
    config = make("run-1")["config"]
    lagging = configuration(config.paths.root, features={"freshness": {"max_lag_hours": 24}})
    with pytest.raises(SystemExit, match=r"user_sequence has no event after 1970-02-19 23:00:00"):
        train(lagging.to_json(), "run-1", str(tmp_path / "run-1"), str(tmp_path / "model"))
    (tmp_path / "run-1" / DATASET_FILE).unlink()
    undated = configuration(config.paths.root, features={"freshness": {"max_age_hours": 24}})
    with pytest.raises(SystemExit, match="no publication is recorded"):
        train(undated.to_json(), "run-2", str(tmp_path / "run-1"), str(tmp_path / "model"))
