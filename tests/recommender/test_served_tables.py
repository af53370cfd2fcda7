"""Served lists and feedback join row by row, and nothing is counted twice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from recommender.served import FEEDBACK, JOINED, SERVED, joined
from recommender.tables import TIME

T = 1_700_000_000_000
MINUTE = 60_000


def served(*rows: tuple[str, int, str]) -> pa.Table:
    told = [
        {
            "request_id": request,
            "time": T,
            "user": "aa",
            "version": "m-1",
            "lane": "live",
            "surface": None,
            "position": position,
            "item_id": item,
            "score": 1.0,
            "propensity": 0.5,
            "marginal": None,
            "policy": "p",
            "fallback": None,
            "latency_ms": 2.0,
        }
        for request, position, item in rows
    ]
    return pa.Table.from_pylist(told, SERVED)


def feedback(*rows: tuple[str, str, str, int, float | None]) -> pa.Table:
    told: list[dict[str, Any]] = [
        {
            "event_id": f"e{number}",
            "request_id": request,
            "item_id": item,
            "action": action,
            "time": T + after,
            "value": value,
            "received": T + after + number,
        }
        for number, (request, item, action, after, value) in enumerate(rows)
    ]
    return pa.Table.from_pylist(told, FEEDBACK)


LIST = served(("r1", 1, "a"), ("r1", 2, "b"), ("r2", 1, "a"))


def test_what_came_of_a_shown_item_is_put_down_to_its_list_only() -> None:
    told = feedback(
        ("r1", "b", "click", 5, None),
        ("r1", "b", "purchase", MINUTE, 9.5),
        ("r2", "a", "hide", 1, None),
    )
    table = joined(LIST, told, MINUTE, ["click", "purchase"])
    assert table.schema.names[: len(JOINED)] == JOINED.names
    assert table["rewarded"].to_pylist() == [False, True, False]
    assert table["rewarded_click"].to_pylist() == [False, True, False]
    assert table["rewarded_purchase"].to_pylist() == [False, True, False]
    assert table["reward"].to_pylist() == [0.0, 10.5, 0.0]
    assert table["actions"].to_pylist() == [[], ["click", "purchase"], ["hide"]]
    assert table["feedback_time"].cast(pa.int64()).to_pylist() == [None, T + 5, None]


def test_each_action_on_an_item_of_a_list_counts_once_however_often_it_is_written() -> None:
    told = feedback(("r1", "a", "click", 5, None), ("r1", "a", "click", 7, None))
    table = joined(pa.concat_tables([LIST, LIST]), pa.concat_tables([told, told]), MINUTE)
    assert len(table) == 3
    assert table["reward"].to_pylist() == [1.0, 0.0, 0.0]
    assert table["feedback_time"][0].cast(pa.int64()).as_py() == T + 5


def test_what_is_late_early_or_about_something_that_was_not_shown_counts_for_nothing() -> None:
    told = feedback(
        ("r1", "a", "click", MINUTE + 1, None),
        ("r1", "b", "click", -1, None),
        ("r1", "z", "click", 5, None),
        ("r9", "a", "click", 5, None),
    )
    assert joined(LIST, told, MINUTE)["reward"].to_pylist() == [0.0, 0.0, 0.0]
    assert joined(LIST, told, MINUTE + 1)["reward"].to_pylist() == [1.0, 0.0, 0.0]


def test_nothing_joins_with_nothing() -> None:
    table = joined(SERVED.empty_table(), FEEDBACK.empty_table(), MINUTE, ["click"])
    assert table.num_rows == 0
    assert table.schema.field("time").type == TIME
    assert table.schema.names == [*JOINED.names, "rewarded_click"]
    alone = joined(LIST, FEEDBACK.empty_table(), MINUTE)
    assert alone["rewarded"].to_pylist() == [False] * 3
