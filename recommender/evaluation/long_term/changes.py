"""What became different when one version took over from another, as the served lists tell.

Two looks, because a rollout has two phases:

- while both serve, a matched comparison of people by which of them served them first, alike in
  what they did before and in the day on which they first came meanwhile;
- around the day of the change, an interrupted time series of the daily figure of everybody; days
  on which both served much are left out.

Shape letters: N lists, U people, T days, V versions, F covariates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.long_term.interrupted import LEAST_DAYS, interrupted
from recommender.evaluation.long_term.matched import matched
from recommender.evaluation.long_term.served_lists import Shown
from recommender.evaluation.statistics import POWER

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
INTERRUPTED, MATCHED = "interrupted time series", "matched comparison"
_PURE = 0.95
"""Share of a day's lists from which on the day counts as one version's own."""
_LONGEST = 56
"""Days that are looked at on either side of a change."""
_HABIT_DAYS = 28


@dataclass(frozen=True)
class Change:
    """One version taking over from another. Days are counted from 1970.

    Attributes:
        before, after: rows of the versions.
        first: the first day on which the later one served.
        start, end: the days that are looked at, end exclusive.
    """

    before: int
    after: int
    first: int
    start: int
    end: int


@dataclass(frozen=True)
class Effect:
    """What one look at a change says; NaN where it can't be told.

    Attributes:
        method: of the look.
        value, low, high: the effect and its interval.
        plain: the plain comparison of means.
        people: served by the later version; those with a counterpart, where they are matched.
        others: people served by the earlier one.
        crossed: people of a matched comparison that were served by both.
        detectable: the smallest true effect that such data show with 80 % power.
        shortcomings: why it is insufficient; empty if it is not.
    """

    method: str
    value: float
    low: float
    high: float
    plain: float
    people: int
    others: int
    crossed: int
    detectable: float
    shortcomings: tuple[str, ...]


def changes(shown: Shown) -> Iterator[Change]:
    """Find each version that took over lists from another, the earliest first."""
    days = shown.days
    origin, last = int(days[0]), int(days[-1])
    lists_TV = np.zeros((last - origin + 1, len(shown.versions)), np.int64)
    np.add.at(lists_TV, (days - origin, shown.version), 1)
    for after in range(1, len(shown.versions)):
        first = int(np.flatnonzero(lists_TV[:, after])[0])
        # Who served most in the week before: a version on trial is nobody's predecessor.
        earlier_V = lists_TV[max(first - 7, 0) : max(first, 1)].sum(axis=0)
        earlier_V[after:] = 0
        before = int(np.argmax(earlier_V))
        if not earlier_V[before]:
            continue
        others_T = lists_TV.sum(axis=1) - lists_TV[:, before] - lists_TV[:, after]
        # A third version ends what the two can tell of each other.
        disturbed = np.flatnonzero(others_T > (1 - _PURE) * lists_TV.sum(axis=1))
        start = max([0, first - _LONGEST, *(disturbed[disturbed < first] + 1).tolist()])
        end = min([len(lists_TV), first + _LONGEST, *disturbed[disturbed >= first].tolist()])
        yield Change(before, after, origin + first, origin + start, origin + end)


def by_days(
    shown: Shown, change: Change, outcome_N: Bools, *, confidence: float, minimum_users: int
) -> Effect:
    """Look at the daily share of lists with an outcome, before and after."""
    inside = _inside(shown, change, change.start, change.end)
    day_N = shown.days[inside] - change.start
    later_N = shown.version[inside] == change.after
    count = change.end - change.start
    lists_T = np.bincount(day_N, minlength=count)
    later_T = np.bincount(day_N, later_N, minlength=count) / np.maximum(lists_T, 1)
    share_T = np.bincount(day_N, outcome_N[inside], minlength=count) / np.maximum(lists_T, 1)
    own_T = (lists_T > 0) & (later_T >= _PURE)
    switched = int(np.flatnonzero(own_T)[0]) if own_T.any() else count
    mixed_T = (lists_T == 0) | np.where(np.arange(count) < switched, later_T > 1 - _PURE, ~own_T)
    kept_N = ~mixed_T[day_N]
    people, others = (_people(shown.person[inside][kept_N & side]) for side in (later_N, ~later_N))
    few = _few(people, others, minimum_users)
    try:
        found = interrupted(share_T, switched, confidence=confidence, left_out_T=mixed_T)
    except ValueError as error:
        return _untold(INTERRUPTED, people, others, (*few, f"too few days: {error}"))
    before_T, after_T = (~mixed_T & side for side in (~_from(switched, count), own_T))
    average = found.average
    half = (average.high - average.low) / 2
    normal = NormalDist()
    z = normal.inv_cdf((1 + confidence) / 2)
    detectable = half * (z + normal.inv_cdf(POWER)) / z
    days = () if found.sufficient else (
        f"{found.days_before} days before and {found.days_after} after; "
        f"{LEAST_DAYS} on either side are asked for",
    )  # fmt: skip
    return Effect(
        INTERRUPTED,
        average.estimate,
        average.low,
        average.high,
        float(share_T[after_T].mean() - share_T[before_T].mean()),
        people,
        others,
        0,
        detectable,
        (*few, *days, *_small(average.estimate, detectable)),
    )


def by_people(
    shown: Shown,
    change: Change,
    outcome_N: Bools | None,
    *,
    confidence: float,
    minimum_users: int,
) -> Effect:
    """Compare people whom the later version served first with others like them.

    Args:
        shown: the lists.
        change: between which versions.
        outcome_N: of each list; the share of a person's lists that have it is compared. None: the
            share of days on which people were there.
        confidence: level of the interval.
        minimum_users: with fewer on a side it is insufficient.
    """
    both = _both(shown, change)
    if both is None:
        return _untold(MATCHED, 0, 0, ("they never served on the same day",))
    rows = np.flatnonzero(_inside(shown, change, *both) & (shown.person >= 0))
    person_N, later_N = shown.person[rows], shown.version[rows] == change.after
    seen, first = np.unique(person_N, return_index=True)
    entry_U = np.full(shown.people, -1, np.int64)
    entry_U[seen] = shown.days[rows][first]
    treated_U = np.zeros(shown.people, bool)
    treated_U[seen] = later_N[first]
    habit_UF = _habits(shown, both[0])
    known = seen[habit_UF[seen, 0] > 0]
    treated = treated_U[known]
    lists_U = np.bincount(person_N, minlength=shown.people)
    if outcome_N is None:
        spells = np.unique(person_N * (both[1] - both[0]) + shown.days[rows] - both[0])
        there_U = np.bincount(spells // (both[1] - both[0]), minlength=shown.people)
        # The day of the first list is there for everybody: it would tell nothing.
        value_U = (there_U - 1) / np.maximum(both[1] - entry_U - 1, 1)
    else:
        value_U = np.bincount(person_N, outcome_N[rows], minlength=shown.people) / np.maximum(
            lists_U, 1
        )
    later_U = np.bincount(person_N, later_N, minlength=shown.people)
    crossed = int(((later_U > 0) & (later_U < lists_U))[known].sum())
    sides = int(treated.sum()), int((~treated).sum())
    few = _few(*sides, minimum_users)
    try:
        found = matched(
            np.column_stack([habit_UF[known], entry_U[known]]).astype(np.float64),
            treated,
            value_U[known].astype(np.float64),
            confidence=confidence,
        )
    except ValueError as error:
        return _untold(MATCHED, *sides, (*few, str(error)))
    unlike = () if found.balanced else ("the groups still differ in what they did before",)
    return Effect(
        MATCHED,
        found.effect,
        found.low,
        found.high,
        found.naive,
        found.matched,
        sides[1],
        crossed,
        found.detectable,
        (*few, *unlike, *_small(found.effect, found.detectable)),
    )


def _both(shown: Shown, change: Change) -> tuple[int, int] | None:
    """Return the days on which both versions served a share of their own, end exclusive."""
    inside = _inside(shown, change, change.first, change.end)
    day_N = shown.days[inside] - change.first
    lists_T = np.bincount(day_N, minlength=change.end - change.first)
    later_T = np.bincount(day_N, shown.version[inside] == change.after, minlength=len(lists_T))
    share_T = later_T / np.maximum(lists_T, 1)
    shared = np.flatnonzero((share_T > 0) & (share_T < _PURE))
    return (change.first, change.first + int(shared[-1]) + 1) if len(shared) else None


def _habits(shown: Shown, day: int) -> Doubles:
    """Return what everybody did in the four weeks before a day, (U, F): lists come first."""
    rows = np.flatnonzero(
        (shown.days >= day - _HABIT_DAYS) & (shown.days < day) & (shown.person >= 0)
    )
    person_N, age_N = shown.person[rows], day - shown.days[rows]

    def counted(weights: NDArray[np.generic]) -> Doubles:
        totals = np.bincount(person_N, weights.astype(np.float64), minlength=shown.people)
        return np.asarray(totals, np.float64)

    lists_U = counted(np.ones(len(rows)))
    latest_U = np.full(shown.people, _HABIT_DAYS + 1)
    np.minimum.at(latest_U, person_N, age_N)
    return np.column_stack(
        [
            lists_U,
            counted(age_N <= 7),
            counted(shown.success[rows]) / np.maximum(lists_U, 1),
            counted(shown.negative[rows]) / np.maximum(lists_U, 1),
            latest_U,
        ]
    )


def _inside(shown: Shown, change: Change, start: int, end: int) -> Bools:
    pair = (shown.version == change.before) | (shown.version == change.after)
    return np.asarray(pair & (shown.days >= start) & (shown.days < end))


def _from(day: int, count: int) -> Bools:
    return np.arange(count) >= day


def _people(person_N: Ints) -> int:
    return len(np.unique(person_N[person_N >= 0]))


def _few(people: int, others: int, least: int) -> tuple[str, ...]:
    if min(people, others) >= least:
        return ()
    return (f"{people:,} people against {others:,}; {least:,} on either side are asked for",)


def _small(value: float, detectable: float) -> tuple[str, ...]:
    if abs(value) >= detectable:
        return ()
    return (f"below {detectable:.4f}, the smallest effect that such data can show",)


def _untold(method: str, people: int, others: int, why: tuple[str, ...]) -> Effect:
    nan = float("nan")
    return Effect(method, nan, nan, nan, nan, people, others, 0, nan, why)
