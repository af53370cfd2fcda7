"""The one picture of the report: how far the candidate is from each rival, with intervals.

The picture is drawn in shares of its width, so that it is as sharp on a phone as on a desk; the
words stand beside it as text, so that they don't shrink with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recommender.evaluation.evidence import CHAMPION, Comparison, Evidence
from recommender.evaluation.gate import Decision

_PADDING = 0.06  # of the range, on either side
_TICKS = 4  # about so many steps on the axis


@dataclass(frozen=True)
class Row:
    """One rival. Positions are percent of the width.

    Attributes:
        rival: its name.
        said: the difference with its interval, in words.
        more: the relative difference and the users, in words.
        side: `better`, `worse` or `unsure`.
        estimate: where the point is.
        low: where the interval begins.
        high: where it ends.
        asked: where the gate's threshold is, if a rule looks at this rival.
    """

    rival: str
    said: str
    more: str
    side: str
    estimate: float
    low: float
    high: float
    asked: float | None


@dataclass(frozen=True)
class Tick:
    """A mark on the axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Picture:
    """Rows, axis and the line of no difference."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    zero: float


def draw(evidence: Evidence, decision: Decision | None) -> Picture:
    """Lay out the differences of the primary metric, one row per rival."""
    asked = _thresholds(evidence, decision)
    ends = [0.0, *(value for value in asked.values())]
    for found in evidence.comparisons:
        difference = found.difference[evidence.primary]
        ends += [end for end in (difference.low, difference.high, difference.estimate) if end]
    place, ticks = axis(ends)
    rows = tuple(
        _row(found, evidence.primary, asked.get(found.rival), place)
        for found in evidence.comparisons
    )
    return Picture(rows, ticks, place(0.0))


def axis(values: Sequence[float]) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    """Lay out an axis that all of `values` fit on, with some room: where each is, and the ticks."""
    low, high = min(values), max(values)
    room = (high - low or 1.0) * _PADDING
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    step = _step(high - low)
    first, last = math.ceil(low / step), math.floor(high / step)
    ticks = tuple(
        Tick(place(n * step), f"{n * step:+.10g}" if n else "0") for n in range(first, last + 1)
    )
    return place, ticks


def _thresholds(evidence: Evidence, decision: Decision | None) -> dict[str, float]:
    """Return what the gate asks of the difference to each rival, in units of the metric."""
    if decision is None:
        return {}
    policy = decision.policy
    found = {str(rival): policy.minimum_gain for rival in policy.must_beat}
    margins = {str(rival): policy.match_margin for rival in policy.must_match}
    margins[CHAMPION] = policy.champion_margin
    for rival, margin in margins.items():
        comparison = evidence.comparison(rival)
        if comparison is not None:
            theirs = comparison.rival_metrics[evidence.primary].estimate or 0.0
            found[rival] = -margin * theirs
    return found


def _row(
    found: Comparison, metric: str, asked: float | None, place: Callable[[float], float]
) -> Row:
    difference, relative = found.difference[metric], found.relative[metric]
    estimate = difference.estimate or 0.0
    low = estimate if difference.low is None else difference.low
    high = estimate if difference.high is None else difference.high
    share = "" if relative.estimate is None else f"{relative.estimate:+.1%} · "
    return Row(
        rival=found.rival,
        said=f"{estimate:+.4f} ({low:+.4f} to {high:+.4f})",
        more=f"{share}{found.users:,} users",
        side="better" if low > 0 else "worse" if high < 0 else "unsure",
        estimate=place(estimate),
        low=place(low),
        high=place(high),
        asked=None if asked is None else place(asked),
    )


def _step(width: float) -> float:
    """Return a round number (1, 2 or 5 times a power of ten) near a part of the width."""
    rough = width / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1, 2, 5, 10), key=lambda n: abs(n * power - rough))
