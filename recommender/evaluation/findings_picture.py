"""The pictures of what lies behind the average: forests of intervals, a reliability curve, cohorts.

Positions are percent of the width, as in `picture.py`; words stand beside them as text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recommender.evaluation.findings import Findings, HeadFacts, OffPolicyFacts
from recommender.evaluation.long_term.facts import LongTermFacts
from recommender.evaluation.picture import Picture, Row, Tick, axis
from recommender.evaluation.records import Interval

ESTIMATORS = {
    "ips": "inverse propensity scoring",
    "clipped_ips": "the same, weights capped",
    "snips": "self-normalised",
    "dm": "a model of rewards alone",
    "dr": "doubly robust",
}
_CURVE = 100.0


@dataclass(frozen=True)
class Forest:
    """Groups of one family, with the axis that all families share."""

    family: str
    picture: Picture


@dataclass(frozen=True)
class Point:
    """A bin of a reliability curve, in percent of a square; y grows downwards."""

    x: float
    y: float
    low: float
    high: float
    said: str


@dataclass(frozen=True)
class Curve:
    """A reliability curve on axes from 0 to `most`."""

    event: str
    most: float
    points: tuple[Point, ...]


def forests(findings: Findings) -> tuple[Forest, ...]:
    """Lay out the difference in every group of requests, family by family."""
    judged = [fact for fact in findings.slices if fact.difference.low is not None]
    place, ticks = axis([0.0, *(end for fact in judged for end in _ends(fact.difference))])
    families = dict.fromkeys(fact.family for fact in judged)
    found = []
    for family in families:
        rows = []
        for fact in (each for each in judged if each.family == family):
            share = "" if fact.relative is None else f"{fact.relative:+.0%} · "
            chance = "" if fact.p is None else f" · p {p_value(fact.p)}"
            few = "" if fact.judged else " · too few to be judged"
            more = f"{share}{fact.users:,} users{chance}{few}"
            rows.append(_row(fact.name, fact.difference, more, place, certain=_sure(fact.p)))
        found.append(Forest(family, Picture(tuple(rows), ticks, place(0.0))))
    return tuple(found)


def logged(facts: OffPolicyFacts | None) -> Picture | None:
    """Lay out what the candidate would have earned more than the policy that served."""
    if facts is None:
        return None
    place, ticks = axis([0.0, *(end for each in facts.differences.values() for end in _ends(each))])
    rows = tuple(
        _row(ESTIMATORS[name], difference, f"value {facts.values[name].estimate or 0:.4f}", place)
        for name, difference in facts.differences.items()
    )
    return Picture(rows, ticks, place(0.0))


def curve(head: HeadFacts) -> Curve:
    """Lay out a reliability curve; the diagonal is where predictions come true."""
    most = max(max(point.predicted, point.high) for point in head.curve) or 1.0

    def at(value: float) -> float:
        return round(_CURVE * min(value / most, 1.0), 2)

    points = tuple(
        Point(
            at(point.predicted),
            _CURVE - at(point.happened),
            _CURVE - at(point.low),
            _CURVE - at(point.high),
            f"predicted {point.predicted:.1%}, happened {point.happened:.1%} of {point.count:,}",
        )
        for point in head.curve
    )
    return Curve(head.event, most, points)


def weekly(facts: LongTermFacts) -> tuple[str, tuple[Tick, ...]]:
    """Return the people seen each week as the points of a line in a 100 × 40 box, and its ends."""
    most = max(facts.weekly_users) or 1
    last = max(len(facts.weekly_users) - 1, 1)
    points = " ".join(
        f"{100 * week / last:.2f},{40 - 38 * users / most:.2f}"
        for week, users in enumerate(facts.weekly_users)
    )
    ends = (
        Tick(0, f"{facts.weekly_users[0]:,}"),
        Tick(100, f"{facts.weekly_users[-1]:,}"),
    )
    return points, ends


def _row(
    name: str,
    found: Interval,
    more: str,
    place: Callable[[float], float],
    *,
    certain: bool = True,
) -> Row:
    estimate, low, high = found.estimate or 0.0, *_ends(found)
    side = "better" if low > 0 else "worse" if high < 0 else "unsure"
    return Row(
        rival=name,
        said=f"{estimate:+.4f} ({low:+.4f} to {high:+.4f})",
        more=more,
        side=side if certain else "unsure",
        estimate=place(estimate),
        low=place(low),
        high=place(high),
        asked=None,
    )


def _ends(found: Interval) -> tuple[float, float]:
    middle = found.estimate or 0.0
    return (
        middle if found.low is None else found.low,
        middle if found.high is None else found.high,
    )


def _sure(p: float | None) -> bool:
    return p is not None and p < 0.05


def p_value(value: float | None) -> str:
    """Write a p-value as papers do."""
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
