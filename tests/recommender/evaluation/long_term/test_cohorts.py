"""Retention and sessions, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recommender.config.actions import ActionsConfig
from recommender.evaluation.long_term.retention import retention
from recommender.evaluation.long_term.visits import DAY_MS, active_days, sessions
from recommender.features.sequences import EventLog

ACTIONS = ActionsConfig(types=("view", "buy"), success=("buy",))


def _log(*users: list[tuple[int, int]]) -> EventLog:
    """Make a log from (time, action) pairs per user."""
    flat = [event for user in users for event in user]
    return EventLog(
        users=tuple(f"u{row}" for row in range(len(users))),
        offsets=np.concatenate([[0], np.cumsum([len(user) for user in users])]).astype(np.int64),
        items=np.zeros(len(flat), np.int32),
        actions=np.array([action for _, action in flat], np.int8),
        times=np.array([time for time, _ in flat], np.int64),
        values=np.full(len(flat), np.nan, np.float32),
    )


def _days(*rows: str) -> np.ndarray:
    """Make an activity matrix (T, U) from one string of `x` and `.` per person."""
    return np.array([[letter == "x" for letter in row] for row in rows]).T


def test_day_n_retention_by_hand() -> None:
    found = retention(_days("xx.....", "x......", "..x.x..", "......x"), (1, 2), cohort_days=7)
    assert found.sizes.tolist() == [4]
    # Day 1 after is covered for three of them, one came; day 2 likewise, another one.
    assert found.people.tolist() == [[3, 3]]
    assert found.share[0] == pytest.approx([1 / 3, 1 / 3])
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()


def test_people_whose_window_is_not_over_are_left_out_and_not_lost() -> None:
    found = retention(_days(".....xx", "x......"), (1, 4), cohort_days=7)
    assert found.people.tolist() == [[2, 1]]
    assert found.share[0].tolist() == [0.5, 0.0]
    assert math.isnan(retention(_days("......x"), (1,)).share[0, 0])


def test_a_wider_look_counts_whoever_comes_on_any_of_its_days() -> None:
    rows = _days("x..x....", "x.......")
    assert retention(rows, (2,), width=1).share[0, 0] == 0
    assert retention(rows, (2,), width=3).share[0, 0] == 0.5


def test_cohorts_are_by_first_day() -> None:
    found = retention(_days("xx........", "x.........", ".......xx."), (1,), cohort_days=7)
    assert found.first_days.tolist() == [0, 7]
    assert found.sizes.tolist() == [2, 1]
    assert found.share[:, 0].tolist() == [0.5, 1.0]
    people, share = found.overall()
    assert people.tolist() == [3]
    assert share[0] == pytest.approx(2 / 3)


def test_a_long_pause_starts_a_new_session_and_so_does_another_person() -> None:
    minute = 60_000
    log = _log(
        [(0, 1), (10 * minute, 2), (41 * minute, 1)],
        [(42 * minute, 1)],
    )
    found = sessions(log, ACTIONS)
    assert found.users.tolist() == [0, 0, 1]
    assert found.events.tolist() == [2, 1, 1]
    assert found.successes.tolist() == [1, 0, 0]
    assert found.dwell_s.tolist() == [600, 0, 0]


def test_a_return_counts_only_where_it_could_be_seen() -> None:
    log = _log([(0, 1), (2 * DAY_MS, 1)], [(0, 1)], [(9 * DAY_MS, 1)])
    followed, rows = sessions(log, ACTIONS).returned_within(3, observed_until=10 * DAY_MS)
    assert rows.tolist() == [0, 1, 2]  # the last one's three days are not over
    assert followed.tolist() == [True, False, False]


def test_an_empty_log_has_no_sessions() -> None:
    assert len(sessions(_log([]), ACTIONS)) == 0


def test_active_days_are_utc_days_from_the_start() -> None:
    log = _log([(DAY_MS - 1, 1), (DAY_MS, 1)], [(5 * DAY_MS, 1)])
    found = active_days(log, 0, 3)
    assert found.T.tolist() == [[True, True, False], [False, False, False]]
