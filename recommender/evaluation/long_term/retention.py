"""Who comes back: day-n retention by cohort, with the people behind every number.

A person joins a cohort on the first day on which they are seen. Retention on day n is the share
who are seen again in the window [n, n + width) days after; people whose window the log doesn't
cover to its end are left out of that number, not counted as lost.

What this can't tell: why. People who join in December are other people than those of May, and a
log that begins in the middle of things takes old customers for new ones.

Shape letters: U people, T days, C cohorts, N offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.metrics.calibration import wilson

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
CAVEATS = (
    "Cohorts differ in who joins, not only in what they were shown: a difference between two of "
    "them is no effect of a model.",
    "The first cohort of a log holds everybody who was there before it began.",
)


@dataclass(frozen=True)
class Retention:
    """Retention by cohort; NaN where nobody's window is covered.

    Attributes:
        first_days: of each cohort, counted from the log's first day, (C,).
        sizes: people of each cohort, (C,).
        offsets: days after the first, (N,).
        people: those whose window is covered, (C, N).
        share: of them, who came back, (C, N).
        low, high: 95 % Wilson intervals, (C, N).
        cohorts: the row of each person's cohort, -1 for people who were never there, (U,).
    """

    first_days: Ints
    sizes: Ints
    offsets: Ints
    people: Ints
    share: Doubles
    low: Doubles
    high: Doubles
    cohorts: Ints

    def overall(self) -> tuple[Ints, Doubles]:
        """Return people and share of all cohorts together, (N,) each."""
        people_N = self.people.sum(axis=0)
        came_N = np.nansum(self.share * self.people, axis=0)
        return people_N, np.where(people_N > 0, came_N / np.maximum(people_N, 1), np.nan)


def retention(
    active_TU: NDArray[np.bool_],
    offsets: tuple[int, ...] = (1, 7, 28),
    *,
    cohort_days: int = 7,
    width: int = 1,
) -> Retention:
    """Follow cohorts.

    Args:
        active_TU: whether each person was there on each day.
        offsets: days after the first at which to look, ≥ 1.
        cohort_days: first days that make one cohort.
        width: days that a look lasts.

    Raises:
        ValueError: an offset is below 1.
    """
    if min(offsets) < 1:
        raise ValueError(f"offsets {offsets} must be 1 or more")
    days, _ = active_TU.shape
    seen_U = active_TU.any(axis=0)
    first_U = np.where(seen_U, active_TU.argmax(axis=0), -1)
    cohort_U = np.where(seen_U, first_U // cohort_days, -1)
    cohorts = np.unique(cohort_U[seen_U])
    # Whether a person is seen in [a, b) is a difference of running counts.
    running = np.concatenate([np.zeros((1, len(first_U)), np.int64), active_TU.cumsum(axis=0)])
    people = np.zeros((len(cohorts), len(offsets)), np.int64)
    came = np.zeros_like(people)
    everyone = np.arange(len(first_U))
    for column, offset in enumerate(offsets):
        covered_U = seen_U & (first_U + offset + width <= days)
        a_U = np.where(covered_U, first_U + offset, 0)
        back_U = covered_U & (running[a_U + width * covered_U, everyone] > running[a_U, everyone])
        for row, cohort in enumerate(cohorts):
            mine = cohort_U == cohort
            people[row, column] = (covered_U & mine).sum()
            came[row, column] = (back_U & mine).sum()
    share = np.where(people > 0, came / np.maximum(people, 1), np.nan)
    low, high = wilson(np.nan_to_num(share), np.maximum(people, 1))
    return Retention(
        cohorts * cohort_days,
        np.array([(cohort_U == cohort).sum() for cohort in cohorts], np.int64),
        np.array(offsets),
        people,
        share,
        np.where(people > 0, low, np.nan),
        np.where(people > 0, high, np.nan),
        np.where(seen_U, np.searchsorted(cohorts, cohort_U), -1),
    )
