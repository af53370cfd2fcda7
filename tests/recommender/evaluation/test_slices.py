"""Slices of a small evaluation set, each group counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_world import config_of, dataset_of

from recommender.evaluation.freeze import freeze
from recommender.evaluation.slices import (
    DAY_MS,
    Slice,
    by_activity,
    by_attribute,
    by_history,
    by_label,
    by_popularity,
    by_recency,
)
from recommender.split import Fold

CUT = 100 * DAY_MS
ROWS = [
    ("ann", "a", "buy", CUT - 40 * DAY_MS),
    ("ann", "b", "buy", CUT - 20 * DAY_MS),
    ("ann", "c", "buy", CUT + 1),  # 2 events, 20 days ago
    ("ann", "d", "buy", CUT + 2 * DAY_MS),  # 3 events, 2 days ago
    ("bob", "a", "buy", CUT + 5),  # cold
    ("cat", "a", "buy", CUT - DAY_MS // 2),
    ("cat", "e", "buy", CUT + 10),  # 1 event, half a day ago
]
REQUESTS = [("ann", 0), ("ann", 1), ("bob", 0), ("cat", 0)]


@pytest.fixture(scope="module")
def requests():
    config = config_of(exclude_seen=True)
    fold = Fold(CUT - DAY_MS, CUT, CUT + 10 * DAY_MS)
    dataset = dataset_of(ROWS, config, [fold])
    return freeze(dataset, config.actions, 100, 10)


def groups(slices) -> dict[str, list[int]]:
    return {each.name: np.flatnonzero(each.requests).tolist() for each in slices}


def test_the_requests_are_those_of_the_table(requests) -> None:
    assert [requests.log.users[user] for user in requests.users] == [u for u, _ in REQUESTS]


def test_cold_users_are_a_group_of_their_own(requests) -> None:
    found = groups(by_history(requests))
    assert found["cold: no history"] == [2]
    rest = [row for name, rows in found.items() if not name.startswith("cold") for row in rows]
    assert sorted(rest) == [0, 1, 3]
    assert found["1 event"] == [3]


def test_recency_is_counted_at_the_moment_of_the_request(requests) -> None:
    assert groups(by_recency(requests)) == {
        "within a day": [3],
        "within a week": [1],
        "within 30 days": [0],
        "longer ago": [],
        "never": [2],
    }


def test_activity_is_the_users(requests) -> None:
    found = groups(by_activity(requests))
    assert found["1 request"] == [2, 3]
    assert found["2 to 4 requests"] == [0, 1]


def test_popularity_tiers_of_what_was_taken(requests) -> None:
    successes = np.array([6, 2, 1, 1, 0, 0])  # a is the head, b the torso, c and d the tail
    assert groups(by_popularity(requests, successes)) == {
        "head": [2],
        "torso": [],
        "tail": [0, 1],
        "cold: never taken before": [3],
    }


def test_every_request_is_in_some_tier_whatever_the_counts(requests) -> None:
    for counts in ([0] * 6, [1] * 6, [100, 1, 1, 1, 1, 1]):
        found = list(by_popularity(requests, np.array(counts)))
        assert np.any([each.requests for each in found], axis=0).all()


def test_labels_beyond_the_largest_go_together_and_none_is_lost(requests) -> None:
    labels = ["x", "x", "y", "z", None, "x"]
    found = groups(by_label(requests, "category", labels, most=1))
    assert found == {"x": [2], "all others": [0, 1], "unknown": [3]}


def test_attributes_of_users(requests) -> None:
    values = {"ann": "f", "bob": None, "cat": "m"}
    found = groups(by_attribute(requests, "sex", [values[u] for u in requests.log.users]))
    assert found == {"f": [0, 1], "m": [3], "unknown": [2]}


def test_a_slice_names_its_family(requests) -> None:
    assert all(isinstance(each, Slice) and each.family for each in by_recency(requests))
