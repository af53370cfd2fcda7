"""Leave-one-out and session-based evaluation, by hand and on MovieLens-1M."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from evaluation_world import Fixed, config_of, dataset_of

from recommender.config.actions import ActionsConfig
from recommender.errors import EvaluationError
from recommender.evaluation.freeze import freeze
from recommender.evaluation.metrics import metric_names
from recommender.evaluation.protocols import LEAVE_ONE_OUT, by_session, leave_one_out
from recommender.evaluation.score import score
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog
from recommender.split import Fold
from recommender.tables import ITEMS

DATA = Path(os.environ.get("OSTINATO_DATA", "../shared/data"))
HOUR = 3_600_000
FOLD = Fold(10, 20, 10**9)


def _dataset(rows, *, exclude_seen: bool = True):
    config = config_of(exclude_seen=exclude_seen)
    return dataset_of(rows, config, [FOLD]), config.actions


ROWS = [
    *[("ann", item, "buy", 7) for item in "abc"],  # one moment: the order of the log decides
    *[("bob", item, "buy", time) for time, item in enumerate("dcba")],
    ("cat", "a", "buy", 1),
    ("cat", "b", "buy", 2),
]


def test_the_last_is_tested_the_one_before_validates_and_the_rest_trains() -> None:
    dataset, actions = _dataset(ROWS)
    found = leave_one_out(dataset, actions, 50)
    names = np.array(dataset.catalogue.ids)
    assert names[found.test.relevant].tolist() == ["c", "a"]
    assert names[found.validation.relevant].tolist() == ["b", "b"]
    assert found.test.counts[LEAVE_ONE_OUT] == 2
    assert found.test.unscored == {"cat": "has fewer than three events"}
    kept = {
        u: names[found.train.items[found.train.user_of_event == row]].tolist()
        for row, u in enumerate(found.train.users)
    }
    assert kept == {"ann": ["a"], "bob": ["d", "c"], "cat": ["a", "b"]}


def test_a_history_is_all_that_came_earlier_in_the_users_order() -> None:
    dataset, actions = _dataset(ROWS)
    names = np.array(dataset.catalogue.ids)
    found = leave_one_out(dataset, actions, 50)
    histories = found.test.histories(np.arange(2))
    assert names[histories.items].tolist() == ["a", "b", "d", "c", "b"]
    assert found.test.histories(np.array([1])).slice(0, 1).lengths.tolist() == [3]


def test_an_item_that_was_had_before_cannot_be_asked_for_where_those_are_left_out() -> None:
    rows = [("ann", item, "buy", time) for time, item in enumerate("aba")]
    dataset, actions = _dataset(rows)
    assert len(leave_one_out(dataset, actions, 50).test) == 0
    dataset, actions = _dataset(rows, exclude_seen=False)
    assert len(leave_one_out(dataset, actions, 50).test) == 1


def test_too_short_histories_are_an_error() -> None:
    dataset, actions = _dataset([("ann", "a", "buy", 1), ("ann", "b", "buy", 2)])
    with pytest.raises(EvaluationError, match="none of 1 users has three events"):
        leave_one_out(dataset, actions, 50)


def test_every_session_is_a_user_of_its_own() -> None:
    rows = [
        ("ann", "a", "buy", 0),
        ("ann", "b", "buy", 1000),
        ("ann", "c", "buy", 5 * HOUR),
        ("ann", "d", "buy", 5 * HOUR + 1000),
        ("bob", "e", "buy", 5 * HOUR),
    ]
    config = config_of()
    fold = Fold(HOUR, 2 * HOUR, 10 * HOUR)
    dataset = dataset_of(rows, config, [fold])
    log = by_session(dataset.log)
    assert log.users == ("ann#0", "ann#1", "bob#0")
    assert np.diff(log.offsets).tolist() == [2, 2, 1]
    frozen = freeze(
        Dataset(log, dataset.items, dataset.text, (fold,), "d", "e"), config.actions, 50, 10
    )
    lengths = frozen.histories(np.arange(len(frozen))).lengths
    assert lengths.tolist() == [0, 1, 0]  # the second session knows nothing of the first


@pytest.mark.needs_data
@pytest.mark.skipif(not (DATA / "ml-1m").exists(), reason=f"{DATA / 'ml-1m'} is not there")
def test_popularity_on_movielens_1m_is_what_its_order_says() -> None:
    """6,040 users over 3,416 items; the expectation is counted here in plain pandas."""
    frame = pd.read_parquet(DATA / "ml-1m" / "interactions_in_order.parquet")
    frame = frame.sort_values(["sas_user", "position"])
    ids = sorted(frame["sas_item"].unique())
    row = {item: place for place, item in enumerate(ids)}
    counts = frame.groupby("sas_user").size()
    log = EventLog(
        users=tuple(str(user) for user in counts.index),
        offsets=np.concatenate([[0], counts.cumsum()]).astype(np.int64),
        items=frame["sas_item"].map(row).to_numpy(np.int32),
        actions=np.ones(len(frame), np.int8),
        times=frame["position"].to_numpy(np.int64),
        values=np.full(len(frame), np.nan, np.float32),
    )
    names = [f"{item:05d}" for item in ids]
    empty = {name: [None] * len(ids) for name in ITEMS.names if name != "item_id"}
    dataset = Dataset(
        log,
        pa.table({"item_id": names, **empty}, ITEMS),
        np.zeros((len(ids), 2), np.float32),
        (FOLD,),
        "ml-1m",
        "none",
    )
    actions = ActionsConfig(types=("watch",), exclude_seen=True)
    found = leave_one_out(dataset, actions, 10_000)
    assert len(found.test) == 6040
    assert len(found.train) == len(log) - 2 * 6040
    popular = np.bincount(found.train.items, minlength=len(ids))
    scored = score(
        Fixed(names, popular.astype(np.float32)),
        10_000,
        found.test,
        np.arange(6040),
        (10,),
        label="popularity",
    )
    order = np.argsort(-popular, kind="stable")
    place = np.empty(len(ids), int)
    place[order] = np.arange(len(ids))
    hits = []
    for user in range(6040):
        mine = log.items[log.offsets[user] : log.offsets[user + 1]]
        better = place[mine[:-1]] < place[mine[-1]]
        hits.append(place[mine[-1]] - len(set(mine[:-1][better])) < 10)
    hr = scored.metrics[:, metric_names((10,)).index("hr@10")].mean()
    assert hr == pytest.approx(np.mean(hits))
