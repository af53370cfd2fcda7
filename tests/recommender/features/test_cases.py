"""Cases: what was shown, when to ask about it, and how far people went."""

from __future__ import annotations

import numpy as np

from recommender.features.cases import SESSION_GAP_MS, cases, drawn, moments_shown
from recommender.features.sequences import EventLog, Exposures

VIEW, CLICK, BUY = 1, 2, 3


def log_of(*rows: tuple[int, int, int, int, int]) -> EventLog:
    """Make a log of (user, item, action, time, position) rows, sorted by user and time."""
    users = max(row[0] for row in rows) + 1
    counts = np.bincount([row[0] for row in rows], minlength=users)
    return EventLog(
        users=tuple(f"u{user}" for user in range(users)),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        items=np.array([row[1] for row in rows], np.int32),
        actions=np.array([row[2] for row in rows], np.int8),
        times=np.array([row[3] for row in rows], np.int64),
        values=np.full(len(rows), np.nan, np.float32),
        exposures=Exposures(np.array([row[4] for row in rows], np.int32), np.full(len(rows), 0.1)),
    )


def test_every_place_of_a_list_is_asked_about_when_it_was_shown() -> None:
    log = log_of(
        (0, 5, VIEW, 1000, 2),
        (0, 4, CLICK, 9000, 1),
        (0, 9, CLICK, 20_000, 0),  # found by search: nothing was shown
        (0, 6, CLICK, 25_000, 3),
        (0, 7, VIEW, 500_000, 1),  # the next list
        (1, 7, VIEW, 500_500, 1),  # somebody else's
    )
    assert moments_shown(log).tolist() == [1000, 1000, 20_000, 1000, 500_000, 500_500]


def test_an_outcome_is_the_farthest_that_the_session_went() -> None:
    log = log_of(
        (0, 5, VIEW, 1000, 1),
        (0, 5, CLICK, 9000, 0),
        (0, 5, BUY, 90_000, 0),
        (0, 6, VIEW, 90_500, 0),
        (0, 5, VIEW, 90_500 + 2 * SESSION_GAP_MS, 0),
    )
    found = cases(log, 10, 0, 10**9)
    assert found.rows.tolist() == [0, 3, 4]
    assert found.reached.tolist() == [BUY, VIEW, VIEW]
    assert found.moments[0] == 1000  # before the click on the very item


def test_nothing_at_or_after_the_end_of_the_window_counts() -> None:
    log = log_of((0, 5, VIEW, 1000, 1), (0, 5, BUY, 2000, 0))
    assert cases(log, 10, 0, 2000).reached.tolist() == [VIEW]
    assert len(cases(log, 10, 1500, 3000)) == 0  # its first touch was before


def test_cases_beyond_a_limit_are_drawn_in_order() -> None:
    log = log_of(*((0, item, VIEW, 1000 * item, 0) for item in range(9)))
    some = drawn(cases(log, 10, 0, 10**6), 4, seed=1)
    assert len(some) == 4
    assert (np.diff(some.rows) > 0).all()
