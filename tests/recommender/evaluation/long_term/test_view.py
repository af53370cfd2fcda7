"""The long term as a log shows it."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.config.actions import ActionsConfig
from recommender.evaluation.long_term.view import view
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.features.sequences import EventLog

ACTIONS = ActionsConfig(types=("view", "buy"), success=("buy",))


def log_of(rows: list[tuple[int, int, int]]) -> EventLog:
    """Make a log from (user, day, action) rows."""
    rows = sorted(rows)
    users = rows[-1][0] + 1
    counts = np.bincount([user for user, _, _ in rows], minlength=users)
    return EventLog(
        users=tuple(f"u{user}" for user in range(users)),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=np.zeros(len(rows), np.int32),
        actions=np.array([action for _, _, action in rows], np.int8),
        times=np.array([day * DAY_MS for _, day, _ in rows], np.int64),
        values=np.full(len(rows), np.nan, np.float32),
    )


def test_counts_by_hand() -> None:
    found = view(log_of([(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 20, 1)]), ACTIONS)
    assert found is not None
    assert found.overall[0] == 0.5  # one of two came back on the next day
    assert (found.users, found.sessions) == (2, 4)
    assert found.conversion == 0.25
    assert found.weekly_users == (2, 0, 1)
    assert found.returned == pytest.approx(1 / 3)  # the last session's week is not over
    assert found.proxy is None
    assert found.value == (None, None, None)


def test_negative_feedback_is_told_by_cohort_and_is_no_success() -> None:
    actions = ActionsConfig(types=("return", "view", "buy"), negative=("return",))
    rows = [(0, 0, 3), (0, 1, 1), (1, 0, 2), (2, 10, 3), (2, 20, 3), (3, 11, 1)]
    found = view(log_of(rows), actions)
    assert found is not None
    assert found.negative == pytest.approx(2 / 6, abs=1e-8)
    assert found.conversion == pytest.approx(4 / 6)
    assert [cohort.negative for cohort in found.cohorts] == [
        pytest.approx(1 / 3, abs=1e-8),
        pytest.approx(1 / 3, abs=1e-8),
    ]
    plain = view(log_of(rows), ActionsConfig(types=("return", "view", "buy")))
    assert plain is not None
    assert (plain.negative, plain.conversion) == (None, 1.0)


def test_a_log_of_a_day_or_of_nothing_has_no_long_term() -> None:
    assert view(log_of([(0, 0, 1), (0, 1, 1)]), ACTIONS) is None
    empty = log_of([(0, 0, 1)]).where(np.array([False]))
    assert view(empty, ACTIONS) is None


def test_early_activity_that_lasts_predicts_and_is_tested_on_later_people() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for user in range(600):
        joined, keen = int(rng.integers(0, 200)), rng.beta(1, 3)
        days = joined + np.flatnonzero(rng.random(56) < keen)
        rows += [(user, int(day), 1) for day in {joined, *days.tolist()} if day < 240]
    found = view(log_of(rows), ACTIONS)
    assert found is not None
    assert found.proxy is not None
    assert found.proxy.horizon_days == 56
    assert found.proxy.early_days == 14
    assert found.proxy.fitted_on + found.proxy.tested_on < 600
    assert found.proxy.rank > 0.7
    assert found.proxy.r2 > 0.5
