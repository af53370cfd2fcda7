"""The curves of the report: how both arms did while the users came, with their intervals.

Positions are percent of a chart's width and height, so that a curve is as sharp on a phone as on
a desk; words stand beside it as text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.rollout import RolloutConfig
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record
from serving.rollout.sequential import quantile_bounds, rate_interval

Floats = NDArray[np.float64]
Series = tuple[Floats, Floats, Floats, Floats]
"""Percent of the width, values, lower and upper ends."""

_POSITIONS = 60
_ROOM = 1.1  # above the highest point


@dataclass(frozen=True)
class Curve:
    """One arm: its line, and the band around it, as SVG points."""

    arm: Arm
    line: str
    band: str


@dataclass(frozen=True)
class Mark:
    """A place on an axis and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        title: what is shown.
        unit: how it is to be read.
        curves: one per arm.
        marks: on the vertical axis.
        steps: where each step begins, on the horizontal one.
        users: at the right end.
    """

    title: str
    unit: str
    curves: tuple[Curve, ...]
    marks: tuple[Mark, ...]
    steps: tuple[Mark, ...]
    users: int


# Estimate, lower and upper end of one arm after its first n users, for each of several n's.
_Follow = Callable[[Sequence[Record], Sequence[int]], tuple[Floats, Floats, Floats]]


def draw(records: Sequence[Record], plan: Plan, config: RolloutConfig) -> tuple[Chart, ...]:
    """Draw the hit rate, the errors and the latency of both arms.

    Args:
        records: in the order in which the users came.
        plan: of the rollout.
        config: for the level of the intervals.
    """
    if not records:
        return ()
    alpha = config.false_alarm

    def hits(arm: Sequence[Record], ends: Sequence[int]) -> tuple[Floats, Floats, Floats]:
        told = np.array([record.hit is not None for record in arm], bool)
        good = np.array([bool(record.hit) for record in arm], bool)
        return _rates(good & told, told, ends, alpha)

    def errors(arm: Sequence[Record], ends: Sequence[int]) -> tuple[Floats, Floats, Floats]:
        failed = np.array([record.failed for record in arm], bool)
        return _rates(failed, np.ones(len(arm), bool), ends, alpha)

    def latency(arm: Sequence[Record], ends: Sequence[int]) -> tuple[Floats, Floats, Floats]:
        values = np.array([np.nan if r.failed else r.latency_ms for r in arm], float)
        found = []
        for end in ends:
            seen = values[:end][~np.isnan(values[:end])]
            bounds = quantile_bounds(seen, 0.95, alpha)
            found.append((np.percentile(seen, 95) if len(seen) else np.nan, *bounds))
        columns = np.array(found, float).reshape(-1, 3).T
        return columns[0], columns[1], columns[2]

    together = [record for record in records if plan.steps[record.step].concurrent]
    return (
        _chart("Hit rate", "%", together, plan, hits, 100.0),
        _chart("Failed requests", "%", records, plan, errors, 100.0),
        _chart("Latency, 95th percentile", "ms", records, plan, latency, 1.0),
    )


def _rates(
    hits: NDArray[np.bool_], counted: NDArray[np.bool_], ends: Sequence[int], alpha: float
) -> tuple[Floats, Floats, Floats]:
    x = np.concatenate([[0], np.cumsum(hits)])[list(ends)].astype(float)
    n = np.concatenate([[0], np.cumsum(counted)])[list(ends)].astype(float)
    low, high = rate_interval(x, n, alpha)
    return np.where(n > 0, x / np.maximum(n, 1), np.nan), low, high


def _chart(
    title: str,
    unit: str,
    records: Sequence[Record],
    plan: Plan,
    follow: _Follow,
    scale: float,
) -> Chart:
    total = len(records)
    positions = np.unique(np.linspace(1, max(total, 1), _POSITIONS).astype(int))
    series = {}
    for arm in Arm:
        mine = np.array([record.arm is arm for record in records], bool)
        ends = np.concatenate([[0], np.cumsum(mine)])[np.minimum(positions, total)]
        values = follow([record for record in records if record.arm is arm], ends.tolist())
        line, low, high = (scale * value for value in values)
        series[arm] = (100 * positions / max(total, 1), line, low, high)
    return framed(title, unit, series, steps_of([r.step for r in records], plan), total)


def framed(
    title: str, unit: str, series: dict[Arm, Series], steps: tuple[Mark, ...], total: int
) -> Chart:
    """Draw one or both arms into a frame that fits what is known in the end.

    Args:
        title: what is shown.
        unit: `%` ends at 100.
        series: by arm: percent of the width, values, lower and upper ends, (P,) each; NaN and
            infinity where nothing is known.
        steps: where each step begins.
        total: users or requests at the right end.
    """
    # What is known in the end decides on the scale; a band may leave it while there is little data.
    parts = [part for told in series.values() for part in told[1:]]
    ends = [float(part[-1]) for part in parts if len(part) and np.isfinite(part[-1])]
    lines = [v for _, line, _, _ in series.values() for v in line if np.isfinite(v)]
    typical = float(np.percentile(lines, 90)) if lines else 0.0
    top = max(_ROOM * max(typical, *ends, 0.0), 1.0)
    if unit == "%":
        top = min(top, 100.0)

    def place(value: Floats) -> Floats:
        return np.asarray(np.clip(100 - 100 * np.minimum(value, 1e9) / top, 0, 100))

    curves = tuple(
        _curve(arm, told[0], *(place(part) for part in told[1:])) for arm, told in series.items()
    )
    marks = tuple(Mark(float(place(np.array(value))), f"{value:g}") for value in _ticks(top))
    return Chart(title, unit, curves, marks, steps, total)


def _curve(arm: Arm, across: Floats, line: Floats, low: Floats, high: Floats) -> Curve:
    known = ~np.isnan(line)
    x, y, low, high = across[known], line[known], low[known], high[known]
    band = [*zip(x, high, strict=True), *reversed(list(zip(x, low, strict=True)))]
    return Curve(arm, _points(zip(x, y, strict=True)), _points(band))


def _points(pairs: object) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in pairs)  # type: ignore[attr-defined]


def _ticks(top: float) -> list[float]:
    """Return round values from 0 to below `top`, about four of them."""
    rough = top / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(power * min((1, 2, 5, 10), key=lambda n: abs(n * power - rough)))
    return [round(n * step, 10) for n in range(int(top / step) + 1) if n * step < 0.97 * top]


def steps_of(steps: Sequence[int], plan: Plan) -> tuple[Mark, ...]:
    """Mark where each step of the plan first occurs in a sequence of steps."""
    found = np.asarray(steps)
    marks = []
    for index, step in enumerate(plan.steps):
        first = np.flatnonzero(found == index)
        if len(first):
            marks.append(Mark(100 * float(first[0]) / len(found), f"{step.percent} %"))
    return tuple(marks)
