"""Which pictures a rollout's page shows: the curves of both arms, its shadow, its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from recommender.config.rollout import RolloutConfig
from serving.rollout.clustered import Cells, reaches, variance_of_rate
from serving.rollout.curves import Chart, Floats, Series, draw, framed, steps_of
from serving.rollout.live_evidence import Columns, LiveEvidence
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record
from serving.rollout.shadow import Comparison
from serving.rollout.state import Phase, State

Bools = NDArray[np.bool_]
_Codes = NDArray[np.int64]
# Users and values of one arm's requests so far; and what turns several of them into a curve.
_Seen = tuple[_Codes, Floats]
_Follow = Callable[[Sequence[_Seen]], tuple[Floats, Floats, Floats]]
_POSITIONS = 60


@dataclass(frozen=True)
class Share:
    """From when on the candidate had which share, as percent of the page's width.

    Attributes:
        start: where the bar begins.
        width: of the bar.
        percent: of the traffic.
        label: in it.
    """

    start: float
    width: float
    percent: float
    label: str


def traffic_steps(state: State) -> tuple[Share, ...]:
    """Return the candidate's shares over time, up to the last moment of the timeline."""
    times = [datetime.fromisoformat(moment.time).timestamp() for moment in state.timeline]
    whole = max(times[-1] - times[0], 1e-9)
    found: list[Share] = []
    now, label, since = 0.0, "0 %", times[0]
    for moment, at in zip(state.timeline, times, strict=True):
        then = _share_after(moment.phase, moment.note)
        if then is None:
            continue
        found.append(_bar(since, at, times[0], whole, now, label))
        (now, label), since = then, at
    found.append(_bar(since, times[-1], times[0], whole, now, label))
    return tuple(share for share in found if share.width > 0)


def _bar(
    since: float, until: float, first: float, whole: float, percent: float, label: str
) -> Share:
    return Share(100 * (since - first) / whole, 100 * (until - since) / whole, percent, label)


def _share_after(phase: Phase, note: str) -> tuple[float, str] | None:
    match phase:
        case Phase.SHADOWING:
            return 0.0, "shadow"
        case Phase.STEPPING:
            number = note.partition(" %")[0]
            return (float(number), f"{number} %") if number.isdigit() else None
        case Phase.PROMOTED:
            return 100.0, "100 %"
        case Phase.ROLLING_BACK | Phase.ROLLED_BACK | Phase.STARTING:
            return 0.0, "0 %"
        case _:
            return None


def charts(
    state: State,
    records: Sequence[Record],
    config: RolloutConfig,
    compared: Sequence[Comparison] = (),
) -> tuple[Chart, ...]:
    """Draw everything there is to see of a rollout.

    Args:
        state: of the rollout.
        records: what was seen of each request.
        config: for the level of the bands.
        compared: what the shadow has compared.
    """
    alpha = config.false_alarm
    found = [*_shadow(compared, alpha)] if compared else []
    if state.traffic == "live":
        found += _live(LiveEvidence(records), state.plan, alpha)
    else:
        found += draw(records, state.plan, config)
    return (*found, *_memory(state))


def _live(seen: LiveEvidence, plan: Plan, alpha: float) -> list[Chart]:
    """Draw rates of requests with bands over users."""
    found = []
    if len(seen.outcomes):
        chosen = _concurrent(plan)[seen.outcomes.step]
        found.append(_rate("Hit rate", seen.outcomes, chosen, plan, alpha))
    if len(seen.answers):
        everything = np.ones(len(seen.answers), bool)
        found.append(_rate("Failed requests", seen.answers, everything, plan, alpha))
        chosen = ~seen.answers.flag
        found.append(_p95("Latency, 95th percentile", seen.answers, chosen, plan, alpha))
    return found


def _shadow(compared: Sequence[Comparison], alpha: float) -> list[Chart]:
    """Draw the overlap of the lists, and both latencies, while copies were answered."""
    total = len(compared)
    positions = _positions(total)
    users: dict[str, int] = {}
    codes = np.array([users.setdefault(one.user, len(users)) for one in compared])
    overlaps = np.array([np.nan if one.overlap is None else one.overlap for one in compared])
    points = []
    for position in positions:
        told = ~np.isnan(overlaps[:position])
        values, user = overlaps[:position][told], codes[:position][told]
        points.append((user, values))
    across = 100 * positions / total
    line, low, high = (100 * part for part in _means(points, alpha))
    series: dict[Arm, Series] = {Arm.CANDIDATE: (across, line, low, high)}
    found = [framed("Shadow: overlap with the champion's items", "%", series, (), total)]
    series = {}
    good = np.array([not one.error for one in compared], bool)
    for arm in Arm:
        taken = np.array(
            [one.stable_ms if arm is Arm.STABLE else one.candidate_ms for one in compared]
        )
        points = [(codes[:n][good[:n]], taken[:n][good[:n]]) for n in positions]
        line, low, high = _quantiles(points, alpha)
        series[arm] = (across, line, low, high)
    return [*found, framed("Shadow: latency, 95th percentile", "ms", series, (), total)]


def _memory(state: State) -> list[Chart]:
    if len(state.memory) < 2:
        return []
    seconds, stable, candidate = np.array(state.memory, float).T
    across = 100 * (seconds - seconds[0]) / max(float(np.ptp(seconds)), 1e-9)
    series = {
        Arm.STABLE: (across, stable, stable, stable),
        Arm.CANDIDATE: (across, candidate, candidate, candidate),
    }
    return [framed("Memory", "MiB", series, (), len(state.memory))]


def _rate(title: str, seen: Columns, chosen: Bools, plan: Plan, alpha: float) -> Chart:
    values = seen.flag.astype(float)
    return _followed(title, "%", seen, chosen, plan, values, lambda p: _means(p, alpha), 100.0)


def _p95(title: str, seen: Columns, chosen: Bools, plan: Plan, alpha: float) -> Chart:
    return _followed(
        title, "ms", seen, chosen, plan, seen.value, lambda p: _quantiles(p, alpha), 1.0
    )


def _followed(
    title: str,
    unit: str,
    seen: Columns,
    chosen: Bools,
    plan: Plan,
    values: Floats,
    follow: _Follow,
    scale: float,
) -> Chart:
    rows = np.flatnonzero(chosen)
    positions = _positions(len(rows))
    series: dict[Arm, Series] = {}
    ours, user = seen.candidate, seen.user
    for arm in Arm:
        mine = rows[ours[rows] == (arm is Arm.CANDIDATE)]
        ends = np.searchsorted(mine, rows[positions - 1], side="right") if len(rows) else [0]
        line, low, high = follow([(user[mine[:end]], values[mine[:end]]) for end in ends])
        across = 100 * positions / max(len(rows), 1)
        series[arm] = (across, scale * line, scale * low, scale * high)
    return framed(title, unit, series, steps_of(seen.step[rows].tolist(), plan), len(rows))


def _means(points: Sequence[_Seen], alpha: float) -> tuple[Floats, Floats, Floats]:
    """Return means over requests and their bands over users."""
    rates = np.array([np.mean(values) if len(values) else np.nan for _, values in points])
    reach = _bands(points, alpha)
    middle = np.nan_to_num(rates, nan=0.5)
    return rates, np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)


def _quantiles(points: Sequence[_Seen], alpha: float) -> tuple[Floats, Floats, Floats]:
    """Return 95th percentiles and their bands: the quantiles that their share may really be."""
    middles = [float(np.percentile(v, 95)) if len(v) else float("nan") for _, v in points]
    above = [(u, (v > m).astype(float)) for (u, v), m in zip(points, middles, strict=True)]
    found = []
    for (_, values), reach in zip(points, _bands(above, alpha), strict=True):
        known = bool(len(values)) and 0.95 + reach < 1
        low = float(np.quantile(values, max(0.95 - reach, 0.0))) if len(values) else 0.0
        found.append((low, float(np.quantile(values, 0.95 + reach)) if known else np.inf))
    low, high = np.array(found, float).T
    return np.array(middles), low, high


def _bands(points: Sequence[_Seen], alpha: float) -> Floats:
    """Return half the width of each mean's band; 1 where there is nothing."""
    variances = [variance_of_rate(Cells.alone(*seen)) if len(seen[0]) else 1.0 for seen in points]
    return reaches(variances, alpha)


def _positions(total: int) -> _Codes:
    return np.unique(np.linspace(1, max(total, 1), _POSITIONS).astype(np.int64))


def _concurrent(plan: Plan) -> Bools:
    return np.array([step.concurrent for step in plan.steps], bool)
