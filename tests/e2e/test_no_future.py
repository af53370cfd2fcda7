"""Nothing that a run makes for the day of the cut knows what happened after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.ingest.step import run as ingest
from components.materialize.step import run as materialize
from components.train.step import run as train
from components.validate.step import run as validate
from feature_repo.locations import project_name
from feature_repo.online import OnlineFeatures
from recommender.artifact import Model
from recommender.config import Config, parse
from recommender.config.source import SyntheticSource
from recommender.features.dataset import Dataset
from recommender.sources.synthetic import generate
from recommender.sources.synthetic.shop import START

DAY_MS = 86_400_000
VALIDATION, TEST = START + 24 * DAY_MS, START + 30 * DAY_MS


@dataclass(frozen=True)
class Made:
    """What one run left."""

    config: Config
    dataset: Dataset
    model: Model
    weights: bytes


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def walk(folder: Path, log: pd.DataFrame, items: pd.DataFrame) -> Made:
    """Go from raw files to a trained model by the very steps of the pipeline."""
    log.to_csv(folder / "log.csv", index=False)
    config = parse(
        {
            "name": "shop",
            "workspace": str(folder / "state"),
            "source": {
                "kind": "mapped",
                "events": {
                    "location": str(folder / "log.csv"),
                    "columns": {"user": "user", "item": "item", "time": "time", "value": "value"},
                    "types": {"column": "event"},
                },
                # Titles are derived from the log, prices are filled in: both could leak.
                "items": {"columns": {"item": "item", "title": "title", "price": "price"}},
            },
            "actions": {"types": ["click", "purchase"], "exclude_seen": False},
            "quality": {"imputation": {"events": {"value": "median"}}},
            "split": {"validation_start": moment(VALIDATION), "test_start": moment(TEST)},
            "features": {"history_limit": 30, "text": {"threads": 1}},
            "model": {"width": 16, "history": 20},
            "training": {"epochs": 2, "threads": 1},
        },
        "this test",
    )
    told = config.to_json()
    ingest(told, "r", str(folder / "data"))
    validate(told, "r", str(folder / "data"), str(folder / "clean"), str(folder / "docs"))
    materialize(told, "r", str(folder / "clean"), str(folder / "dataset"))
    train(told, "r", str(folder / "dataset"), str(folder / "model"))
    candidate = folder / "model" / "candidate"
    return Made(
        config,
        Dataset.read(folder / "dataset"),
        Model.load(candidate),
        (candidate / "weights.safetensors").read_bytes(),
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Made]:
    """Two worlds that differ only after the cut."""
    source = SyntheticSource(users=120, items=40, days=40, sessions_per_user=6)
    tables = generate(source, seed=5)
    events, items = tables.events.to_pandas(), tables.items.to_pandas().set_index("item_id")
    events = events[events["event"] != "impression"].reset_index(drop=True)
    random = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            "user": events["user_id"],
            "item": events["item_id"],
            "time": events["time"].map(lambda time: time.isoformat()),
            "event": events["event"],
            "value": np.where(random.random(len(events)) < 0.1, np.nan, 1.0),
            "title": events["item_id"].map(items["title"]),
            "price": events["item_id"].map(items["price"]),
        }
    )
    times = pd.to_datetime(log["time"], format="ISO8601").astype("int64") // 10**6
    seen = log[times < TEST]
    # From the cut itself (the first moment that must not be seen) to the log's last event.
    after = np.append(random.integers(TEST, times.max(), 399), TEST)
    planted = seen.sample(400, random_state=1).assign(
        time=[moment(int(ms)) for ms in after],
        item=seen["item"].iloc[0],
        title="Something else altogether",
        price=9_999.0,
        value=1_000.0,
        event="purchase",
    )
    worlds = []
    for name, rows in (("as it was", log), ("planted", pd.concat([log, planted]))):
        worlds.append(walk(tmp_path_factory.mktemp(name.replace(" ", "-")), rows, items))
    return worlds[0], worlds[1]


def test_the_planted_events_are_really_there(both):
    plain, planted = both
    assert len(planted.dataset.log) == len(plain.dataset.log) + 400


def test_no_example_changes(both):
    logs = [made.dataset.log.before(TEST) for made in both]
    for column in ("items", "actions", "times", "values", "offsets"):
        np.testing.assert_array_equal(getattr(logs[0], column), getattr(logs[1], column))


def test_no_word_and_no_attribute_of_an_item_changes(both):
    plain, planted = (made.dataset for made in both)
    np.testing.assert_array_equal(plain.text, planted.text)
    assert plain.items.equals(planted.items)


def test_no_feature_that_the_canary_reads_changes(both):
    stores = []
    for made in both:
        with OnlineFeatures(made.config.paths, project_name(made.config, "rehearsal")) as store:
            users = sorted(store.users())
            stores.append({user: repr(store.user_history(user)) for user in users})
    assert len(stores[0]) > 50
    assert stores[0] == stores[1]


def test_no_byte_of_the_model_and_no_score_changes(both):
    plain, planted = both
    assert plain.weights == planted.weights
    users = np.arange(len(plain.dataset.log.users))
    for_all = [
        made.model.scorer.scores(
            made.dataset.log.histories(users, np.full(len(users), TEST), made.model.history)
        )
        for made in both
    ]
    np.testing.assert_array_equal(for_all[0], for_all[1])
