"""Lists for everybody: the same as one by one, in bounded blocks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.batch import SCHEMA, recommend_all
from recommender.config.actions import ActionsConfig
from recommender.errors import EvaluationError
from recommender.features.sequences import Catalogue, EventLog

ACTIONS = ActionsConfig(types=("view", "buy"), history=("buy",))
IDS = tuple("abcdef")


def model(**changes) -> Model:
    counts = np.arange(len(IDS), 0, -1).astype(np.float32)  # "a" is the most popular
    actions = ACTIONS.model_copy(update=changes)
    return Model(Popularity(Catalogue(IDS), counts), IDS, actions, 2)


def log(rows: list[list[tuple[int, int, int]]]) -> EventLog:
    flat = [event for user in rows for event in user]
    return EventLog(
        users=tuple(f"u{n}" for n in range(len(rows))),
        offsets=np.concatenate([[0], np.cumsum([len(user) for user in rows])]).astype(np.int64),
        items=np.array([item for item, _, _ in flat], np.int32),
        actions=np.array([action for _, action, _ in flat], np.int8),
        times=np.array([time for _, _, time in flat], np.int64),
        values=np.full(len(flat), np.nan, np.float32),
    )


LOG = log([[(0, 2, 10), (1, 2, 20)], [], [(5, 1, 10), (2, 2, 99)]])


def listed(block_bytes: int = 2**20, k: int = 3, **changes) -> dict[str, list[str]]:
    batches = recommend_all(model(**changes), LOG, 50, k, history_limit=10, block_bytes=block_bytes)
    table = pa.Table.from_batches(batches, SCHEMA)
    return dict(zip(table["user_id"].to_pylist(), table["item_ids"].to_pylist(), strict=True))


def test_everybody_gets_a_list_also_people_without_a_history() -> None:
    # Of u2, the view makes no history and the purchase lies at or after the moment of asking.
    assert listed() == {"u0": ["c", "d", "e"], "u1": ["a", "b", "c"], "u2": ["a", "b", "c"]}


def test_seen_items_come_again_where_that_is_meant() -> None:
    assert listed(exclude_seen=False)["u0"] == ["a", "b", "c"]


def test_lists_are_shorter_where_nothing_is_left() -> None:
    assert listed(k=6)["u0"] == ["c", "d", "e", "f"]


@pytest.mark.parametrize("block_bytes", [1, 24 * 6 * 2, 2**20])
def test_blocks_change_nothing(block_bytes: int) -> None:
    assert listed(block_bytes) == listed()


def test_a_log_of_another_catalogue_is_refused() -> None:
    with pytest.raises(EvaluationError, match="item row 9, the model ranks 6 items"):
        next(recommend_all(model(), log([[(9, 2, 1)]]), 5, 3, history_limit=9))
